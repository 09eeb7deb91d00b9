//! The requests of `mirrord history` and `mirrord restore`: the values that refs once had, and bringing one back.

use std::{collections::BTreeSet, sync::Arc};

use common::{
    protocol::{
        Failure, FailureKind, Mirror as Wanted, OrFailure, Past, Reply, Restore, wire::batches,
    },
    refspec::{PublicRef, Route},
};
use gix::{
    bstr::{BString, ByteSlice},
    date::Zoned,
};

use crate::{
    mirrors::registry::Mirror,
    process::blocking::blocking,
    repository::{
        ancestry,
        history::{self, At, Entry},
        plan::{LocalEdit, Plan},
        publish,
        refs::{self, Refs, conflicting},
    },
    requests::{conversation::Conversation, error::RequestError, resolve::existing_mirror},
    sync::Engine,
};

const CANNOT_READ: &str = "cannot read the mirror's refs";

/// The bytes of a past value in a reply beside its ref's name, at most; the size of a batch is reckoned with it.
const PAST_SIZE: usize = 200;

/// Sends the values that the refs of a mirror, or one of them, once had, newest first.
///
/// # Errors
/// Fails where there is no such mirror or ref, and where the refs cannot be read.
pub(crate) async fn history(
    engine: &Engine,
    conversation: &mut Conversation,
    wanted: &Wanted,
    name: Option<&[u8]>,
) -> Result<Reply, RequestError> {
    let values = past_values(engine, wanted, name)?;
    for batch in batches(values, |past: &Past| past.name.len() + PAST_SIZE) {
        conversation.send(&Reply::Past(batch)).await?;
    }
    Ok(Reply::Done)
}

fn past_values(
    engine: &Engine,
    wanted: &Wanted,
    name: Option<&[u8]>,
) -> Result<Vec<Past>, Failure> {
    let mirror = existing_mirror(engine, wanted)?;
    let refs = refs::read(&mirror.git_dir).or_failure(CANNOT_READ)?;
    let mut entries = history::entries(&refs);
    if let Some(name) = name {
        let is_there = history::full_names(name).any(|name| refs.contains_key(&name));
        match history::find(&entries, name, None) {
            Ok(found) => entries.retain(|entry| entry.name == found.name),
            // The ref has had no other value.
            Err(_) if is_there => entries.clear(),
            Err(failure) => return Err(failure),
        }
    }
    Ok(entries.into_iter().map(past).collect())
}

/// Restores a value that a ref once had, as a local ref.
///
/// # Errors
/// Fails where no such value is known, its object is gone, or another ref is in the way.
pub(crate) async fn restore(engine: &Arc<Engine>, request: &Restore) -> Result<Reply, Failure> {
    let mirror = existing_mirror(engine, &request.mirror)?;
    let at = request.at.as_deref().map(|text| {
        // A time without a zone is in the client's zone.
        let now = request
            .now
            .parse::<Zoned>()
            .unwrap_or_else(|_| Zoned::now());
        At::parse(text, &now)
    });
    let at = at.transpose()?;
    let refs = refs::read(&mirror.git_dir).or_failure(CANNOT_READ)?;
    let entry = history::find(&history::entries(&refs), &request.name, at.as_ref())?;
    let name = match &request.to {
        Some(to) => full_name(to, &entry.name)?,
        None => entry.name.clone(),
    };
    let gate = engine.gates.gate(&mirror.git_dir);
    let reservation = gate.reserve(BTreeSet::from([name.clone()])).await;
    let (engine, git_dir) = (engine.clone(), mirror.git_dir);
    blocking(move || {
        let gone = || Failure::here("the mirror has just been removed, or moved");
        let mirror = engine
            .registry
            .mirror_at(&git_dir)
            .or_failure(CANNOT_READ)?;
        let mirror = mirror.ok_or_else(gone)?;
        let mut written = Err(Failure::here("it was not written"));
        let settled = reservation.write_while_no_sync_begins(|_| {
            written = write(&mirror, &entry, &name);
            Ok(())
        });
        settled.or_failure(CANNOT_READ)?;
        written?;
        let hint = match mirror.settings.rules.track.route(&name) {
            Route::Tracked(_) if name == entry.name => Some(push_commands(&entry)),
            _ => None,
        };
        Ok(Reply::Restored {
            past: past(entry),
            name: name.into(),
            hint,
        })
    })
    .await
}

fn write(mirror: &Mirror, entry: &Entry, name: &BString) -> Result<(), Failure> {
    let repo = refs::open(&mirror.git_dir).or_failure(CANNOT_READ)?;
    if !repo.has_object(entry.oid) {
        return Err(Failure::here(format!("object {} is not here", entry.oid)));
    }
    let oid = if name.starts_with(b"refs/heads/") {
        // A branch that is made of a tag gets the tagged commit, as in git.
        ancestry::peel_to_commit(&repo, entry.oid).ok_or_else(|| {
            Failure::here(format!(
                "{} is no commit, and cannot be a branch",
                entry.oid
            ))
        })?
    } else {
        entry.oid
    };
    let refs = refs::read(&mirror.git_dir).or_failure(CANNOT_READ)?;
    if let Some(other) = conflicting_ref(&refs, name) {
        let failure = Failure::here(format!("'{other}' exists"));
        return Err(failure.hinted("bring it back under another name: --as NAME"));
    }
    let restored = LocalEdit {
        name: PublicRef::new(name.clone()),
        old: None,
        new: Some(oid),
    };
    let track = &mirror.settings.rules.track;
    let plan = Plan::of_push(&refs, &[], &[restored], track);
    let published =
        publish::publish(&mirror.git_dir, &plan, None, track).or_failure("cannot bring it back")?;
    if published.again {
        return Err(Failure::here("the mirror's refs have just changed").hinted("try again"));
    }
    Ok(())
}

/// The ref that has the name, or that leaves no room for it, as `a` for `a/b`.
fn conflicting_ref<'r>(refs: &'r Refs, name: &BString) -> Option<&'r BString> {
    let same = refs.get_key_value(name).map(|(name, _)| name);
    same.or_else(|| conflicting(refs, name.as_bstr()))
}

/// The commands that send a restored ref to upstream. Without the deletion git sends nothing, because the mirror already
/// shows that value.
fn push_commands(entry: &Entry) -> String {
    let Entry { name, oid, .. } = entry;
    format!("git fetch && git push origin :{name} && git push origin {oid}:{name}")
}

/// The full name of a ref that was typed: a branch or a tag, as the restored ref is.
fn full_name(typed: &[u8], old: &BString) -> Result<BString, Failure> {
    let kind = if old.starts_with(b"refs/tags/") {
        "tags"
    } else {
        "heads"
    };
    let name = match typed.strip_prefix(b"refs/") {
        Some(_) => BString::from(typed),
        None => BString::from([format!("refs/{kind}/").as_bytes(), typed].concat()),
    };
    let short = ["refs/heads/", "refs/tags/"]
        .iter()
        .find_map(|space| name.strip_prefix(space.as_bytes()));
    let is_valid = gix::validate::reference::name(name.as_bstr()).is_ok();
    // `git branch` makes no such branch either (`strbuf_check_branch_ref` in git's object-name.c or refs.c).
    let is_sane = short.is_some_and(|short| !short.starts_with(b"-") && short != b"HEAD");
    if is_valid && is_sane {
        return Ok(name);
    }
    let message = format!("'{}' is not the name of a branch or a tag", typed.as_bstr());
    Err(Failure::new(FailureKind::Usage, message))
}

fn past(entry: Entry) -> Past {
    Past {
        at: entry.at / history::MICROS,
        name: entry.name.into(),
        oid: entry.oid.to_string(),
        why: entry.why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(typed: &str, old: &str) -> Result<BString, String> {
        full_name(typed.as_bytes(), &old.into()).map_err(|failure| failure.message)
    }

    #[test]
    fn a_short_name_is_of_the_kind_of_the_ref_that_was() {
        for (typed, old, expected) in [
            ("was", "refs/heads/topic", "refs/heads/was"),
            ("a/b", "refs/heads/topic", "refs/heads/a/b"),
            ("was", "refs/tags/v1", "refs/tags/was"),
            ("refs/heads/was", "refs/tags/v1", "refs/heads/was"),
            ("refs/tags/was", "refs/heads/topic", "refs/tags/was"),
        ] {
            assert_eq!(full(typed, old), Ok(expected.into()), "{typed} of {old}");
        }
    }

    #[test]
    fn what_git_branch_would_not_make_is_refused() {
        for typed in [
            "refs/upstream/heads/x",
            "refs/mirror/x",
            "refs/replace/x",
            "refs/notes/x",
            "refs/heads/",
            "a..b",
            "with space",
            "HEAD~1",
            "HEAD",
            "-x",
            "",
        ] {
            let message = format!("'{typed}' is not the name of a branch or a tag");
            assert_eq!(full(typed, "refs/heads/topic"), Err(message));
        }
    }
}
