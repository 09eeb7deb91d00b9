//! Which mirror a client means by a name or a URL, and the directory of the one that is made where there is none.

use common::{
    address::upstream_url::{Address, UpstreamUrl},
    protocol::{Failure, FailureKind, Mirror as Wanted, OrFailure},
};

use crate::{
    mirrors::{
        registry::{Mirror, Target},
        spelling::other_spelling,
    },
    sync::Engine,
};

const CANNOT_READ: &str = "cannot read the mirrors";

/// The mirror that a client means, or the one that will be made.
pub(crate) struct Resolved {
    /// The URL that was typed; for a name, that of its mirror.
    pub typed: UpstreamUrl,
    /// The upstream and the directory of the mirror.
    pub target: Target,
}

/// Finds the mirror that a client means, or a directory for the one that will be made.
///
/// # Errors
/// Fails for a name that no mirror has, for a URL that is none, and where the mirrors cannot be read.
pub(crate) fn resolve(engine: &Engine, wanted: &Wanted) -> Result<Resolved, Failure> {
    match wanted {
        Wanted::Name(_) => {
            let mirror = existing_mirror(engine, wanted)?;
            Ok(Resolved {
                typed: mirror.settings.url.clone(),
                target: mirror.target(),
            })
        }
        Wanted::Url(url) => {
            let typed = parse_url(url)?;
            let target = target_of_url(engine, &typed)?;
            Ok(Resolved { typed, target })
        }
    }
}

/// Finds the mirror that a client means, which must be there.
///
/// # Errors
/// Fails where no such mirror is there, and where its configuration cannot be read.
pub(crate) fn existing_mirror(engine: &Engine, wanted: &Wanted) -> Result<Mirror, Failure> {
    let found = match wanted {
        Wanted::Url(url) => engine
            .registry
            .find(&parse_url(url)?)
            .or_failure(CANNOT_READ)?,
        Wanted::Name(name) => engine.registry.find_name(name).or_failure(CANNOT_READ)?,
    };
    if let (None, Wanted::Name(name)) = (&found, wanted)
        && let Some(found) = engine
            .registry
            .find_unreadable(name)
            .or_failure(CANNOT_READ)?
    {
        let message = format!(
            "the configuration of '{name}' cannot be read: {}",
            found.reason
        );
        return Err(Failure::here(message).hinted(format!(
            "'mirrord remove --force {name}' removes it, and leaves its branches and tags in a bundle"
        )));
    }
    found.ok_or_else(|| match wanted {
        Wanted::Url(url) => no_mirror_of(engine, url),
        Wanted::Name(name) => {
            let message = format!("no mirror is called '{name}'");
            Failure::new(FailureKind::NoMirror, message).hinted(
                "'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git",
            )
        }
    })
}

/// Says that no clone of a URL has made a mirror. A mirror of it that a person has made is meant by its name alone, and
/// the hint says that name.
fn no_mirror_of(engine: &Engine, url: &str) -> Failure {
    let named = parse_url(url).map(|url| engine.registry.mirrors_of_url(&url).unwrap_or_default());
    let names = named.unwrap_or_default().into_iter();
    let names: Vec<_> = names
        .map(|mirror| format!("'{}'", mirror.settings.name))
        .collect();
    let failure = Failure::here(format!("there is no mirror of '{url}'"));
    match &names[..] {
        [] => failure.hinted("'mirrord list' shows them"),
        [name] => failure.hinted(format!(
            "{name} is one that was made with a name: say the name"
        )),
        _ => failure.hinted(format!(
            "{} are some that were made with a name: say the name",
            names.join(" and ")
        )),
    }
}

/// Parses a URL that a client sent.
///
/// # Errors
/// Fails where the text is no URL of an upstream.
pub(crate) fn parse_url(url: &str) -> Result<UpstreamUrl, Failure> {
    match Address::parse(url) {
        Ok(Address::Url(url, _)) => Ok(url),
        Ok(Address::Name(_)) => Err(Failure::here(format!("'{url}' is not a URL"))),
        Err(err) => Err(Failure::here(err.to_string())),
    }
}

/// Finds the mirror that serves a URL, or a directory for the one that will.
///
/// # Errors
/// Fails where the mirrors cannot be read.
pub(crate) fn target_of_url(engine: &Engine, url: &UpstreamUrl) -> Result<Target, Failure> {
    let found = engine.registry.find(url).or_failure(CANNOT_READ)?;
    found.map_or_else(|| new_target(engine, url), |mirror| Ok(mirror.target()))
}

/// Finds a directory for one more mirror of a URL.
///
/// # Errors
/// Fails where the mirrors cannot be read.
pub(crate) fn new_target(engine: &Engine, url: &UpstreamUrl) -> Result<Target, Failure> {
    let git_dir = engine.registry.free_dir(url).or_failure(CANNOT_READ)?;
    let url = url.clone();
    Ok(Target { url, git_dir })
}

/// Whether a partial clone or fetch of a URL passes the mirror by, and comes straight from upstream: the setting
/// `pass-through` wants it so, and no mirror of the URL is there. A mirror of the same upstream that has a name counts as
/// one: the new mirror takes its packs, and is made as fast.
///
/// # Errors
/// Fails for a name that no mirror has, and where the mirrors cannot be read.
pub(crate) fn passes_through(engine: &Engine, wanted: &Wanted) -> Result<bool, Failure> {
    let Wanted::Url(url) = wanted else {
        return existing_mirror(engine, wanted).map(|_| false);
    };
    let url = parse_url(url)?;
    let has_mirror = |url: &UpstreamUrl| -> Result<bool, Failure> {
        let found = engine
            .registry
            .mirrors_of_url(url)
            .or_failure(CANNOT_READ)?;
        Ok(!found.is_empty())
    };
    // Whether the other spelling is the same project, only upstream knows, and a fetch asks it.
    let other_has = other_spelling(&url).map_or(Ok(false), |other| has_mirror(&other))?;
    Ok(!has_mirror(&url)? && !other_has && engine.config().pass_through)
}
