//! One client's end of the line, from its request to the final reply.

use std::time::Duration;

use common::protocol::{
    Answer, Ask, Failure, LocalRef, Progress, Reply,
    wire::{self, WireError, batches},
};
use interprocess::local_socket::tokio::Stream;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc,
    },
    time::Instant,
};

use crate::process::questions::{Passphrase, Question, is_for_passphrase, may_be_seen};

/// A client hears something at least this often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A client that does not listen for this long is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// One client's end of the line.
pub(crate) struct Conversation {
    stream: Stream,
    heard: Instant,
    passphrase: Option<Passphrase>,
    log: Option<ConversationLog>,
}

/// The log line of a conversation.
struct ConversationLog {
    title: String,
    began: Instant,
    /// The last reply, and how long after the request it was sent.
    outcome: Option<(String, Duration)>,
}

impl Drop for ConversationLog {
    fn drop(&mut self) {
        let (title, closed) = (&self.title, self.began.elapsed().as_millis());
        match &self.outcome {
            Some((outcome, after)) => {
                let after = after.as_millis();
                tracing::debug!(
                    "conversation: {title}: {outcome} after {after} ms, closed after {closed} ms"
                );
            }
            None => {
                tracing::debug!("conversation: {title}: closed by the client after {closed} ms")
            }
        }
    }
}

impl Conversation {
    /// A conversation with a client that has been greeted and has sent its request. With a `title`, the log has a line of
    /// it.
    pub(crate) fn new(stream: Stream, title: Option<String>) -> Self {
        let log = title.map(|title| ConversationLog {
            title,
            began: Instant::now(),
            outcome: None,
        });
        Self {
            stream,
            heard: Instant::now(),
            passphrase: None,
            log,
        }
    }

    /// Says what comes of something that may take a while.
    pub(crate) async fn report(
        &mut self,
        work: impl Future<Output = Result<Reply, Failure>>,
    ) -> Result<(), WireError> {
        let reply = self.wait_quietly(work).await?;
        self.say(&reply.unwrap_or_else(Reply::Failed)).await
    }

    /// Says which refs are in a mirror alone.
    pub(crate) async fn say_locals(&mut self, locals: Vec<LocalRef>) -> Result<(), WireError> {
        for batch in batches(locals, |local| local.name.len() + 200) {
            self.say(&Reply::Locals(batch)).await?;
        }
        Ok(())
    }

    /// Waits for something of which there is nothing to see but that we are alive.
    pub(crate) async fn wait_quietly<T>(
        &mut self,
        future: impl Future<Output = T>,
    ) -> Result<T, WireError> {
        let (_, mut silence) = broadcast::channel(1);
        self.wait("those who use the mirror", &mut silence, future)
            .await
    }

    /// Says one thing.
    pub(crate) async fn say(&mut self, reply: &Reply) -> Result<(), WireError> {
        self.heard = Instant::now();
        if let Some(log) = &mut self.log
            && let Some(outcome) = reply.outcome()
        {
            log.outcome = Some((outcome, log.began.elapsed()));
        }
        // A client that was stopped must not hold up what others wait for.
        tokio::time::timeout(SEND_TIMEOUT, wire::send(&mut &self.stream, reply))
            .await
            .map_err(|_| WireError::Late)?
    }

    /// Asks the person.
    pub(crate) async fn ask(&mut self, question: Ask) -> Result<Answer, WireError> {
        self.say(&Reply::Ask(question)).await?;
        self.hear().await
    }

    /// Waits for what the client says, which may be long in coming.
    pub(crate) async fn hear(&mut self) -> Result<Answer, WireError> {
        wire::recv(&mut &self.stream).await
    }

    /// Waits for something while the client sees how far it is, and ends when the client does.
    pub(crate) async fn wait<T>(
        &mut self,
        host: &str,
        progress: &mut broadcast::Receiver<Progress>,
        future: impl Future<Output = T>,
    ) -> Result<T, WireError> {
        let (_, mut nothing) = mpsc::channel(1);
        self.wait_asked(host, progress, &mut nothing, future).await
    }

    /// The same, while the client is asked what there is to ask.
    pub(crate) async fn wait_asked<T>(
        &mut self,
        host: &str,
        progress: &mut broadcast::Receiver<Progress>,
        questions: &mut mpsc::Receiver<Question>,
        future: impl Future<Output = T>,
    ) -> Result<T, WireError> {
        let began = Instant::now();
        let mut closed = false;
        tokio::pin!(future);
        let outcome = loop {
            let mut hearing = &self.stream;
            let said = tokio::select! {
                biased;
                outcome = &mut future => break outcome,
                // A client has nothing to say here, so whatever comes is its end.
                _ = wire::recv::<Answer>(&mut hearing) => return Err(WireError::Closed),
                said = progress.recv(), if !closed => match said {
                    Ok(progress) => progress,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => {
                        closed = true;
                        continue;
                    }
                },
                Some(question) = questions.recv() => {
                    self.put(question).await?;
                    continue;
                }
                () = tokio::time::sleep_until(self.heard + KEEPALIVE_INTERVAL) => {
                    let seconds = u32::try_from(began.elapsed().as_secs()).unwrap_or(u32::MAX);
                    Progress::Asking { host: host.to_owned(), seconds }
                }
            };
            self.say(&Reply::Progress(said)).await?;
        };
        // What was said before the end is heard before the end.
        while let Ok(progress) = progress.try_recv() {
            self.say(&Reply::Progress(progress)).await?;
        }
        Ok(outcome)
    }

    /// Puts a question of ssh's to the person.
    async fn put(&mut self, question: Question) -> Result<(), WireError> {
        let Question {
            prompt,
            answer: waiting,
        } = question;
        let ask = Ask::Question {
            echo: may_be_seen(&prompt),
            prompt: prompt.clone(),
        };
        let is_passphrase = is_for_passphrase(&prompt);
        let answer = match self.ask(ask).await? {
            Answer::Said(answer) => Some(answer),
            _ => None,
        };
        if is_passphrase && let Some(answer) = answer.clone() {
            let question = prompt;
            self.passphrase = Some(Passphrase { question, answer });
        }
        // The sync may have ended meanwhile.
        let _ = waiting.send(answer);
        Ok(())
    }

    /// The passphrase that the person has just given, if they were asked for one.
    pub(crate) fn take_passphrase(&mut self) -> Option<Passphrase> {
        self.passphrase.take()
    }

    /// Waits until the client has gone.
    pub(crate) async fn end(&mut self) {
        while wire::recv::<Answer>(&mut &self.stream).await.is_ok() {}
    }
}
