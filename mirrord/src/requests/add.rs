//! The daemon's side of `mirrord add`: a mirror with a name and settings of its own, made only if its upstream can be
//! read.

use std::sync::Arc;

use common::{
    address::name::Name,
    protocol::{Add, Cause, Failure, FailureKind, OrFailure, Reply, wire::WireError},
};

use crate::{
    mirrors::{
        config::Config,
        registry::Mirror,
        settings::{Auth, Settings},
    },
    requests::{
        conversation::Conversation,
        credential::{Loose, SuppliedCredential},
        edit,
        fetch::{Extent, Purpose, Request, new_target, parse},
    },
    sync::{Create, Engine, Wish},
};

const CANNOT_MAKE: &str = "cannot make the mirror";

/// Another mirror of the same upstream may get the place that was free; then there is a next one.
const MAX_DIRS: usize = 5;

/// Makes a mirror, beside those of the same upstream that there are.
pub(crate) async fn add(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    add: Add,
) -> Result<(), WireError> {
    let reply = match carry_out(engine, conversation, add).await? {
        Ok(reply) => reply,
        Err(failure) => Reply::Failed(failure),
    };
    conversation.say(&reply).await
}

async fn carry_out(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    add: Add,
) -> Result<Result<Reply, Failure>, WireError> {
    let mut settings = match wanted(engine, &add) {
        Ok(settings) => settings,
        Err(failure) => return Ok(Err(failure)),
    };
    let typed = settings.url.clone();
    let target = match new_target(engine, &typed) {
        Ok(target) => target,
        Err(failure) => return Ok(Err(failure)),
    };
    let mut request = match Request::new(engine, conversation, add.fetch, typed, target) {
        Ok(request) => request,
        Err(failure) => return Ok(Err(failure)),
    };
    request.make_new();
    let mut given = match SuppliedCredential::new(add.credential, &settings.url) {
        Ok(given) => given,
        Err(failure) => return Ok(Err(failure)),
    };
    if given.auth != Auth::AsGit {
        request.give(given.clone());
    }
    let mut format = gix::hash::Kind::Sha1;
    if add.test {
        let extent = match add.watched {
            true => Extent::Full,
            false => Extent::Needed,
        };
        match request.test(&settings.rules.track, extent).await? {
            Ok((url, asked)) => {
                (settings.url, format) = (url, asked.format);
                given.correct(request.passphrase());
            }
            Err(unfit) => return Ok(Err(unfit.failure)),
        }
    }
    let mut loose = Loose::new(engine, &settings.url, None);
    let given = match given.store(engine).await {
        Ok(given) => given,
        Err(failure) => return Ok(Err(failure)),
    };
    loose.add(&given.auth);
    settings.auth = given.auth.clone();
    if given.auth != Auth::AsGit {
        request.give(given.clone());
    }
    let made = make(engine, &mut request, settings, format, (add.test, add.sync));
    let mut made = made.await?;
    let left = loose.settle().await;
    if let Ok(Reply::Added { warnings, .. }) = &mut made {
        warnings.extend(given.warning().into_iter().chain(left));
    }
    Ok(made)
}

/// Makes it, now that all is known of it.
async fn make(
    engine: &Arc<Engine>,
    request: &mut Request<'_>,
    settings: Settings,
    format: gix::hash::Kind,
    (test, sync): (bool, bool),
) -> Result<Result<Reply, Failure>, WireError> {
    for _ in 0..MAX_DIRS {
        let target = match new_target(engine, &settings.url) {
            Ok(target) => target,
            Err(failure) => return Ok(Err(failure)),
        };
        request.retarget(target.clone());
        // What could not be tested is made in any case, and what is not to be downloaded is made empty.
        if !(test && sync) {
            let made = engine
                .registry
                .begin(settings.clone(), format)
                .and_then(|unborn| engine.registry.settle(unborn, &target.git_dir));
            match made {
                Ok(mirror) => {
                    engine.schedule.add(&mirror, None, false);
                    return finish(request, &mirror, sync).await;
                }
                // Somebody has just made one there.
                Err(_) if target.git_dir.exists() => continue,
                Err(err) => return Ok(Err(Failure::io(CANNOT_MAKE, &err))),
            }
        }
        let wish = Wish {
            create: Create::With(Box::new(settings.clone())),
            ..Wish::new(Cause::Command)
        };
        match request.run(&Purpose::Sync(wish)).await? {
            Ok(fetched) if fetched.mirror.settings == settings => {
                return Ok(Ok(added(&fetched.mirror, fetched.ready.warnings)));
            }
            // Somebody else's, who was faster.
            Ok(fetched) if fetched.mirror.settings.name == settings.name => {
                return Ok(Err(taken(&fetched.mirror)));
            }
            Ok(_) => {}
            Err(failure) => return Ok(Err(failure)),
        }
    }
    Ok(Err(Failure::here(
        "mirrors of the same upstream are made faster than this one",
    )))
}

/// The settings of the mirror that is wanted.
fn wanted(engine: &Engine, add: &Add) -> Result<Settings, Failure> {
    let name = Name::parse_new(&add.name)
        .map_err(|err| Failure::new(FailureKind::Usage, err.to_string()))?;
    let found = engine.registry.find_name(&name);
    if let Some(other) = found.or_failure(CANNOT_MAKE)? {
        return Err(taken(&other));
    }
    let common::protocol::Mirror::Url(url) = &add.fetch.mirror else {
        return Err(Failure::new(FailureKind::Usage, "an upstream has a URL")
            .hinted("mirrord add NAME https://HOST/GROUP/PROJECT.git"));
    };
    let defaults = Config::read(&engine.config)?.defaults;
    let mut settings = Settings::new(name, parse(url)?, defaults);
    edit::apply(&mut settings, &add.settings)?;
    Ok(settings)
}

/// Brings a mirror that is there in step. What fails is then only something to know.
async fn finish(
    request: &mut Request<'_>,
    mirror: &Mirror,
    sync: bool,
) -> Result<Result<Reply, Failure>, WireError> {
    let mut warnings = Vec::new();
    if sync {
        match request
            .run(&Purpose::Sync(Wish::new(Cause::Command)))
            .await?
        {
            Ok(fetched) => return Ok(Ok(added(&fetched.mirror, fetched.ready.warnings))),
            Err(failure) => {
                warnings.push(format!("it is not in step: {}", failure.message));
                warnings.extend(failure.hint);
            }
        }
    }
    Ok(Ok(added(mirror, warnings)))
}

fn added(mirror: &Mirror, warnings: Vec<String>) -> Reply {
    Reply::Added {
        name: mirror.settings.name.to_string(),
        url: mirror.settings.url.to_string(),
        warnings,
    }
}

fn taken(other: &Mirror) -> Failure {
    let Settings { name, url, .. } = &other.settings;
    Failure::here(format!("a mirror is called '{name}' already, of '{url}'")).hinted(format!(
        "'mirrord set {name}' changes it, 'mirrord rename {name} OTHER' renames it"
    ))
}
