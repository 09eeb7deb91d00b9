//! The daemon's side of `mirrord log`: what happened, and what happens while somebody follows.

use std::sync::Arc;

use common::{
    address::name::Name,
    protocol::{Entry, Failure, Log, Mirror as Wanted, OrFailure, Reply, wire::WireError},
};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use crate::{
    mirrors::{
        journal::{Kept, Line, MirrorFilter},
        registry::Mirror,
    },
    process::blocking::{blocking, panicked},
    requests::{
        conversation::Conversation,
        fetch::{existing, parse},
    },
    sync::Engine,
};

const CANNOT_READ: &str = "cannot read what happened";

/// Entries in one message; each is at most some kilobytes long.
const BATCH: usize = 100;

/// Says what happened, and goes on if the client follows.
pub(crate) async fn log(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    request: Log,
) -> Result<(), WireError> {
    let (kept, news) = match engine.journal.open() {
        Ok(opened) => opened,
        Err(err) => {
            return conversation
                .say(&Reply::Failed(Failure::io(CANNOT_READ, &err)))
                .await;
        }
    };
    let news = news.filter(|_| request.follow);
    // What is kept is read as fast as the client takes it.
    let (to, mut batches) = mpsc::channel(1);
    let reading = engine.clone();
    let read = tokio::spawn(blocking(move || read(&reading, &request, &kept, &to)));
    while let Some(batch) = conversation.wait_quietly(batches.recv()).await? {
        conversation.say(&Reply::Entries(batch)).await?;
    }
    let read = read
        .await
        .unwrap_or_else(|panic| Err(panicked("the request", &panic)));
    let whose = match read {
        Ok(whose) => whose,
        Err(failure) => return conversation.say(&Reply::Failed(failure)).await,
    };
    let Some(mut news) = news else {
        return conversation.say(&Reply::Done).await;
    };
    loop {
        let reply = match conversation.wait_quietly(news.recv()).await? {
            Ok(line) if is_wanted(whose.as_ref(), &line) => {
                Reply::Entries(vec![line.entry.clone()])
            }
            Ok(_) => continue,
            Err(RecvError::Lagged(count)) => Reply::Missed(count),
            Err(RecvError::Closed) => return conversation.say(&Reply::Done).await,
        };
        conversation.say(&reply).await?;
    }
}

/// Hands over what is kept and wanted, and says whose it is. Blocks.
fn read(
    engine: &Engine,
    request: &Log,
    kept: &Kept,
    to: &mpsc::Sender<Vec<Entry>>,
) -> Result<Option<MirrorFilter>, Failure> {
    let whose = request.mirror.as_ref();
    let whose = whose
        .map(|wanted| whose_is(engine, wanted, kept))
        .transpose()?;
    let wanted = || {
        let lines = kept.lines();
        lines.filter(|line| {
            line.as_ref()
                .map_or(true, |line| is_wanted(whose.as_ref(), line))
        })
    };
    let skipped = match request.count.map(usize::try_from) {
        Some(Ok(count)) => wanted().count().saturating_sub(count),
        Some(Err(_)) | None => 0,
    };
    let mut batch = Vec::new();
    for line in wanted().skip(skipped) {
        batch.push(line.or_failure(CANNOT_READ)?.entry);
        // Who does not take it has gone.
        if batch.len() == BATCH && to.blocking_send(std::mem::take(&mut batch)).is_err() {
            break;
        }
    }
    let _ = to.blocking_send(batch);
    Ok(whose)
}

/// The mirror that is meant, also when it is gone and something of it is still known.
fn whose_is(engine: &Engine, wanted: &Wanted, kept: &Kept) -> Result<MirrorFilter, Failure> {
    let all = engine
        .registry
        .all()
        .or_failure("cannot read the mirrors")?;
    let among_others = |git_dir: Option<&_>, name: &Name| {
        let dirs = all.iter().map(|mirror: &Mirror| mirror.git_dir.as_path());
        MirrorFilter::new(
            git_dir,
            name.to_string(),
            dirs.filter(|dir| Some(*dir) != git_dir),
        )
    };
    let failure = match existing(engine, wanted) {
        Ok(Mirror { git_dir, settings }) => {
            return Ok(among_others(Some(&git_dir), &settings.name));
        }
        Err(failure) => failure,
    };
    let whose = match wanted {
        Wanted::Name(name) => among_others(None, name),
        Wanted::Url(url) => among_others(None, &parse(url)?.mirror_name()),
    };
    let mut lines = kept.lines();
    let is_known = lines.any(|line| line.is_ok_and(|line| whose.owns(&line)));
    is_known.then_some(whose).ok_or(failure)
}

fn is_wanted(whose: Option<&MirrorFilter>, line: &Line) -> bool {
    whose.is_none_or(|whose| whose.owns(line))
}
