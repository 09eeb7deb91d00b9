//! The request of `mirrord log`: the entries of the journal, and with `--follow` the new ones as they come.

use std::sync::Arc;

use common::{
    address::name::Name,
    protocol::{Entry, Failure, Log, Mirror as Wanted, OrFailure, Reply},
};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use crate::{
    mirrors::{
        journal::{Line, MirrorFilter, Opened, Snapshot},
        registry::Mirror,
    },
    process::blocking::{blocking, panicked},
    requests::{
        conversation::Conversation,
        error::RequestError,
        resolve::{existing_mirror, parse_url},
    },
    sync::Engine,
};

const CANNOT_READ: &str = "cannot read what happened";

/// Entries in one message; each is at most some kilobytes long.
const MAX_BATCH: usize = 100;

/// Sends the entries of the journal, oldest first, and new ones while the client follows.
///
/// # Errors
/// Fails where the journal cannot be read, and for a mirror of which nothing is known.
pub(crate) async fn log(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    request: Log,
) -> Result<Reply, RequestError> {
    let Opened { snapshot, news } = engine.journal.open().or_failure(CANNOT_READ)?;
    let news = news.filter(|_| request.follow);
    // The journal is read as fast as the client takes its entries.
    let (to, mut batches) = mpsc::channel(1);
    let reading = engine.clone();
    let read = tokio::spawn(blocking(move || read(&reading, &request, &snapshot, &to)));
    while let Some(batch) = conversation.wait_quietly(batches.recv()).await? {
        conversation.send(&Reply::Entries(batch)).await?;
    }
    let read = read
        .await
        .unwrap_or_else(|panic| Err(panicked("the request", &panic)));
    let filter = read?;
    let Some(mut news) = news else {
        return Ok(Reply::Done);
    };
    loop {
        let reply = match conversation.wait_quietly(news.recv()).await? {
            Ok(line) if is_wanted(filter.as_ref(), &line) => {
                Reply::Entries(vec![line.entry.clone()])
            }
            Ok(_) => continue,
            Err(RecvError::Lagged(count)) => Reply::Missed(count),
            Err(RecvError::Closed) => return Ok(Reply::Done),
        };
        conversation.send(&reply).await?;
    }
}

/// Hands over the entries that are kept and wanted. Returns the filter for the new ones. Blocks.
fn read(
    engine: &Engine,
    request: &Log,
    snapshot: &Snapshot,
    to: &mpsc::Sender<Vec<Entry>>,
) -> Result<Option<MirrorFilter>, Failure> {
    let filter = request.mirror.as_ref();
    let filter = filter
        .map(|wanted| filter_of(engine, wanted, snapshot))
        .transpose()?;
    let wanted = || {
        let lines = snapshot.lines();
        lines.filter(|line| {
            line.as_ref()
                .map_or(true, |line| is_wanted(filter.as_ref(), line))
        })
    };
    let skipped = match request.count.map(usize::try_from) {
        Some(Ok(count)) => wanted().count().saturating_sub(count),
        Some(Err(_)) | None => 0,
    };
    let mut batch = Vec::new();
    for line in wanted().skip(skipped) {
        batch.push(line.or_failure(CANNOT_READ)?.entry);
        // A client that does not take it has gone.
        if batch.len() == MAX_BATCH && to.blocking_send(std::mem::take(&mut batch)).is_err() {
            break;
        }
    }
    let _ = to.blocking_send(batch);
    Ok(filter)
}

/// The filter for the mirror that is meant, also when the mirror is gone and the journal still has entries of it.
fn filter_of(
    engine: &Engine,
    wanted: &Wanted,
    snapshot: &Snapshot,
) -> Result<MirrorFilter, Failure> {
    let all = engine
        .registry
        .mirrors()
        .or_failure("cannot read the mirrors")?;
    let among_others = |git_dir: Option<&_>, name: &Name| {
        let dirs = all.iter().map(|mirror: &Mirror| mirror.git_dir.as_path());
        MirrorFilter::new(
            git_dir,
            name.to_string(),
            dirs.filter(|dir| Some(*dir) != git_dir),
        )
    };
    let failure = match existing_mirror(engine, wanted) {
        Ok(Mirror { git_dir, settings }) => {
            return Ok(among_others(Some(&git_dir), &settings.name));
        }
        Err(failure) => failure,
    };
    let filter = match wanted {
        Wanted::Name(name) => among_others(None, name),
        Wanted::Url(url) => among_others(None, &parse_url(url)?.mirror_name()),
    };
    let mut lines = snapshot.lines();
    let is_known = lines.any(|line| line.is_ok_and(|line| filter.matches(&line)));
    is_known.then_some(filter).ok_or(failure)
}

fn is_wanted(filter: Option<&MirrorFilter>, line: &Line) -> bool {
    filter.is_none_or(|filter| filter.matches(line))
}
