//! The conversation with one client, from its request to the final reply. While a request waits, the client is sent
//! progress and asked questions; when it closes the connection, the wait ends.

use std::time::Duration;

use common::protocol::{
    Answer, Ask, LocalRef, Progress, Reply,
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

/// A client is sent something at least this often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A client that takes nothing for this long is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// The bytes of a local ref in a reply beside its name, at most; the size of a batch is reckoned with it.
const LOCAL_REF_SIZE: usize = 200;

/// The conversation with one client.
pub(crate) struct Conversation {
    stream: Stream,
    last_sent: Instant,
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
                tracing::debug!("conversation: {title}: closed by the client after {closed} ms");
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
            last_sent: Instant::now(),
            passphrase: None,
            log,
        }
    }

    /// Sends the refs that are in a mirror alone, in batches.
    pub(crate) async fn send_local_refs(&mut self, locals: Vec<LocalRef>) -> Result<(), WireError> {
        for batch in batches(locals, |local| local.name.len() + LOCAL_REF_SIZE) {
            self.send(&Reply::Locals(batch)).await?;
        }
        Ok(())
    }

    /// Waits for work that has no progress to show. The client is told how long the wait lasts.
    pub(crate) async fn wait_quietly<T>(
        &mut self,
        future: impl Future<Output = T>,
    ) -> Result<T, WireError> {
        let (_, mut no_progress) = broadcast::channel(1);
        self.wait("those who use the mirror", &mut no_progress, future)
            .await
    }

    /// Sends one reply.
    pub(crate) async fn send(&mut self, reply: &Reply) -> Result<(), WireError> {
        self.last_sent = Instant::now();
        if let Some(log) = &mut self.log
            && let Some(outcome) = reply.outcome()
        {
            log.outcome = Some((outcome, log.began.elapsed()));
        }
        // A client that was stopped (SIGSTOP) must not hold up what others wait for.
        tokio::time::timeout(SEND_TIMEOUT, wire::send(&mut &self.stream, reply))
            .await
            .map_err(|_| WireError::Late)?
    }

    /// Asks the client's person a question, and waits for the answer.
    pub(crate) async fn ask(&mut self, question: Ask) -> Result<Answer, WireError> {
        self.send(&Reply::Ask(question)).await?;
        self.receive().await
    }

    /// Waits for the client's next answer, without a limit: a person may have to type it.
    pub(crate) async fn receive(&mut self) -> Result<Answer, WireError> {
        wire::recv(&mut &self.stream).await
    }

    /// Waits for work, and sends the client its progress. Fails as soon as the client goes.
    pub(crate) async fn wait<T>(
        &mut self,
        host: &str,
        progress: &mut broadcast::Receiver<Progress>,
        future: impl Future<Output = T>,
    ) -> Result<T, WireError> {
        let (_, mut no_questions) = mpsc::channel(1);
        self.wait_with_questions(host, progress, &mut no_questions, future)
            .await
    }

    /// Waits for work as [`wait`](Self::wait) does, and asks the client the questions that come meanwhile.
    pub(crate) async fn wait_with_questions<T>(
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
            let mut receiving = &self.stream;
            let update = tokio::select! {
                biased;
                outcome = &mut future => break outcome,
                // A client sends nothing here, so whatever comes is its end.
                _ = wire::recv::<Answer>(&mut receiving) => return Err(WireError::Closed),
                update = progress.recv(), if !closed => match update {
                    Ok(progress) => progress,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => {
                        closed = true;
                        continue;
                    }
                },
                Some(question) = questions.recv() => {
                    self.forward_question(question).await?;
                    continue;
                }
                () = tokio::time::sleep_until(self.last_sent + KEEPALIVE_INTERVAL) => {
                    let seconds = u32::try_from(began.elapsed().as_secs()).unwrap_or(u32::MAX);
                    Progress::Asking { host: host.to_owned(), seconds }
                }
            };
            self.send(&Reply::Progress(update)).await?;
        };
        // Progress from before the end reaches the client before the end does.
        while let Ok(progress) = progress.try_recv() {
            self.send(&Reply::Progress(progress)).await?;
        }
        Ok(outcome)
    }

    /// Asks the client what ssh asks, and hands the answer back.
    async fn forward_question(&mut self, question: Question) -> Result<(), WireError> {
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
            Answer::Text(answer) => Some(answer),
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

    /// The passphrase that the person has typed since the last call, if they were asked for one.
    pub(crate) fn take_passphrase(&mut self) -> Option<Passphrase> {
        self.passphrase.take()
    }

    /// Waits until the client closes the connection, which is its lease.
    pub(crate) async fn wait_until_closed(&mut self) {
        while wire::recv::<Answer>(&mut &self.stream).await.is_ok() {}
    }
}
