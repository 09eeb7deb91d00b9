//! Upstreams behind ssh: the command of the user's own ssh, as git would run it, without questions.
//!
//! Another program than OpenSSH, and a server that speaks only the old protocol, are left to git itself. OpenSSH is told to
//! keep its connection for the next sync (`ControlPersist`), unless the user's configuration says how to share one.

mod client_config;
mod control_sockets;
mod host_key;
mod own_key;
mod sign_in;
mod stderr;

use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    address::upstream_url::UpstreamUrl,
    git::ssh::{self, Client},
    protocol::{Failure, OrFailure, QUESTION_ID, SignIn},
};
use parking_lot::Mutex;

use self::{client_config::ClientConfig, control_sockets::ControlSockets, own_key::Configurations};
pub(super) use self::{
    own_key::explain_refusal,
    sign_in::{LogEntry, SignInLog},
    stderr::explain,
};
use super::{Access, Trouble, fallback::sibling_program};
use crate::process::{
    questions::{self, Questions},
    watch::Watch,
};

/// How long an unused connection is kept, and how long the output of `ssh -G` is relied on.
const KEEP_TIMEOUT: Duration = Duration::from_secs(60);

/// The state that all sessions over ssh share.
pub(crate) struct Ssh {
    control_sockets: ControlSockets,
    /// Configuration files for mirrors with a key of their own.
    configurations: Configurations,
    questions: Arc<Questions>,
    configs: Mutex<HashMap<ConnectionKey, (ClientConfig, Instant)>>,
    /// Origins of servers that speak only the old protocol, as far as this daemon has seen.
    old_protocol: Mutex<HashSet<String>>,
}

/// The key of a shared connection: both ends of it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct ConnectionKey {
    client: Client,
    /// The variables of the user's agent and Kerberos tickets.
    environment: Vec<(String, String)>,
    destination: String,
    port: Option<u16>,
}

/// The variables by which an ssh may ask questions, and what keeps them good for as long as it lives.
type Asking = (Vec<(String, String)>, Option<questions::Open>);

/// The ssh that reaches an upstream.
pub(super) struct SshCommand {
    /// The command of a child of our own; `None` where only git can talk to this server or this ssh.
    pub direct: Option<Command>,
    /// The variables with which git runs the same ssh.
    pub git_variables: Vec<(String, String)>,
    /// Lets ssh ask questions, for as long as it runs.
    pub asking: Option<questions::Open>,
}

impl ConnectionKey {
    fn new(url: &UpstreamUrl, access: &Access) -> Result<Self, Failure> {
        let Some(client) = &access.ssh else {
            return Err(Failure::here(format!("'{url}' is not for ssh")));
        };
        Ok(Self {
            client: client.clone(),
            environment: access.environment.clone(),
            destination: ssh::destination(url),
            port: ssh::port(url),
        })
    }

    /// Returns the command of OpenSSH with these options that runs a program of git's on the other side.
    fn command(&self, program: &str, url: &UpstreamUrl, options: Vec<String>) -> Command {
        let args = options.into_iter().chain(ssh::args(url, program));
        self.client.fenced(args, &self.environment)
    }

    fn port(&self) -> impl Iterator<Item = String> {
        self.port
            .into_iter()
            .flat_map(|port| ["-p".to_owned(), port.to_string()])
    }
}

impl Ssh {
    /// Takes a directory for the sockets of kept connections, and one for configurations. Ends and removes what a daemon
    /// that was killed has left there.
    pub(crate) fn new(
        sockets: Option<PathBuf>,
        configurations: PathBuf,
        questions: Arc<Questions>,
    ) -> Self {
        let control_sockets = ControlSockets::new(sockets);
        control_sockets.end_all();
        Self {
            control_sockets,
            configurations: Configurations::new(configurations),
            questions,
            configs: Mutex::default(),
            old_protocol: Mutex::default(),
        }
    }

    /// Ends all connections that are kept. Blocks until they have ended.
    pub(crate) fn end(&self) {
        self.control_sockets.end_all();
    }

    /// Returns the command that reaches `url`. Asks the user's ssh for its configuration, once in a while.
    pub(super) fn command(
        &self,
        url: &UpstreamUrl,
        access: &Access,
        watch: &Watch,
    ) -> Result<SshCommand, Trouble> {
        let connection = ConnectionKey::new(url, access)?;
        let config = self.client_config(&connection, watch)?;
        if !config.is_openssh {
            return Ok(SshCommand {
                direct: None,
                git_variables: connection.client.for_git(None),
                asking: None,
            });
        }
        let can_ask = !watch.askable().is_empty();
        let options = self.options(&connection, &config, access, can_ask)?;
        let (variables, asking) = self.allow_questions(access, watch)?;
        let mut git_variables = connection.client.for_git(Some(&options));
        git_variables.extend(variables.iter().cloned());
        let is_old = self.old_protocol.lock().contains(&url.origin());
        let direct = (!is_old).then(|| {
            let mut command = connection.command("git-upload-pack", url, options);
            command.envs(variables);
            command
        });
        Ok(SshCommand {
            direct,
            git_variables,
            asking,
        })
    }

    /// Lets an ssh ask the people who wait, where that is allowed.
    fn allow_questions(&self, access: &Access, watch: &Watch) -> Result<Asking, Failure> {
        let (passphrase, askable) = (access.passphrase.clone(), watch.askable().clone());
        // With the mirror's own key the question helps without an answer, too: it tells that only the passphrase is missing.
        let is_own = access.ssh.as_ref().is_some_and(|ssh| ssh.key.is_some());
        if passphrase.is_none() && askable.is_empty() && !is_own {
            return Ok((Vec::new(), None));
        }
        let open = self
            .questions
            .open(passphrase, askable, None)
            .or_failure("cannot let ssh ask")?;
        let variables = askpass(&open).or_failure("cannot let ssh ask")?;
        Ok((variables, Some(open)))
    }

    /// Returns how the `git push` to upstream runs ssh, and what lets it ask for the passphrase of the mirror's own key for
    /// as long as the push is open.
    pub(crate) fn for_push(
        &self,
        url: &UpstreamUrl,
        access: &Access,
        push: &str,
        watch: &Watch,
    ) -> Result<(SignIn, Option<questions::Open>), Trouble> {
        let connection = ConnectionKey::new(url, access)?;
        let config = self.client_config(&connection, watch)?;
        if !config.is_openssh {
            return Ok((SignIn::AsGit, None));
        }
        // Where no passphrase is stored, ssh itself asks the person who pushes.
        let options = self.options(&connection, &config, access, access.passphrase.is_none())?;
        let command = connection.client.line(&options);
        let asking = match access.passphrase.clone() {
            Some(passphrase) => {
                let open = self
                    .questions
                    .open(Some(passphrase), Vec::new(), Some(push));
                Some(open.or_failure("cannot let ssh ask")?)
            }
            None => None,
        };
        let passphrase = asking.as_ref().map(|open| open.id.clone());
        let sign_in = SignIn::Ssh {
            command,
            passphrase,
        };
        Ok((sign_in, asking))
    }

    /// Returns the command that would take a push to `url`, and what lets it ask questions; `None` where only git can run
    /// this ssh.
    pub(super) fn receive_pack(
        &self,
        url: &UpstreamUrl,
        access: &Access,
        watch: &Watch,
    ) -> Result<Option<(Command, Option<questions::Open>)>, Trouble> {
        let connection = ConnectionKey::new(url, access)?;
        let config = self.client_config(&connection, watch)?;
        if !config.is_openssh {
            return Ok(None);
        }
        let can_ask = !watch.askable().is_empty();
        let options = self.options(&connection, &config, access, can_ask)?;
        let (variables, asking) = self.allow_questions(access, watch)?;
        let mut command = connection.command("git-receive-pack", url, options);
        command.envs(variables);
        Ok(Some((command, asking)))
    }

    /// Records that a server speaks only the old protocol.
    pub(super) fn record_old_protocol(&self, url: &UpstreamUrl) {
        self.old_protocol.lock().insert(url.origin());
    }

    fn client_config(
        &self,
        connection: &ConnectionKey,
        watch: &Watch,
    ) -> Result<ClientConfig, Trouble> {
        if let Some((config, at)) = self.configs.lock().get(connection)
            && at.elapsed() < KEEP_TIMEOUT
        {
            return Ok(config.clone());
        }
        let config = client_config::read(connection, watch)?;
        let mut configs = self.configs.lock();
        configs.retain(|_, (_, at)| at.elapsed() < KEEP_TIMEOUT);
        configs.insert(connection.clone(), (config.clone(), Instant::now()));
        Ok(config)
    }

    /// Returns the options that are added to the user's. An option in the user's command comes first, and so wins. One in
    /// their configuration file would lose, so what is set there is not set here.
    fn options(
        &self,
        connection: &ConnectionKey,
        config: &ClientConfig,
        access: &Access,
        can_ask: bool,
    ) -> Result<Vec<String>, Failure> {
        let mut settings = Vec::new();
        if !(can_ask || access.passphrase.is_some() || connection.client.key.is_some()) {
            settings.push("BatchMode=yes".to_owned());
        }
        let mut options = Vec::new();
        if let Some(key) = &connection.client.key {
            let configuration = self
                .configurations
                .write(connection, &config.configuration)
                .or_failure("cannot prepare ssh's configuration")?;
            let strict = if can_ask { "ask" } else { "yes" };
            let strict = format!("StrictHostKeyChecking={strict}");
            options = own_key::options(key, &configuration, &strict);
            let prompts = own_key::max_prompts(access);
            settings.push(format!("NumberOfPasswordPrompts={prompts}"));
        }
        if !config.sets_timeout {
            // As over http.
            let seconds = access.http.no_progress.as_secs();
            settings.push(format!("ConnectTimeout={seconds}"));
        }
        if !config.sets_alive {
            settings.extend([
                "ServerAliveInterval=10".into(),
                "ServerAliveCountMax=3".into(),
            ]);
        }
        // A mirror with a key of its own must not use a connection of the user's.
        if (!config.sets_control || connection.client.key.is_some())
            && let Some(socket) = self.control_sockets.path(connection)
        {
            settings.extend([
                "ControlMaster=auto".into(),
                format!("ControlPath={socket}"),
                format!("ControlPersist={}", KEEP_TIMEOUT.as_secs()),
                // A kept connection must not hold a port that the user's configuration forwards.
                "ClearAllForwardings=yes".into(),
            ]);
        }
        let settings = settings.into_iter();
        options.extend(settings.flat_map(|setting| ["-o".to_owned(), setting]));
        Ok(options)
    }
}

/// Returns the variables that make ssh ask us, with or without a terminal.
fn askpass(open: &questions::Open) -> io::Result<Vec<(String, String)>> {
    let program = sibling_program("git-remote-mirror")?;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Ok(vec![
        pair("SSH_ASKPASS", &program),
        pair("SSH_ASKPASS_REQUIRE", "force"),
        pair(QUESTION_ID, &open.id.0),
    ])
}
