//! A real sshd, and what a user needs to sign in to it: keys, an ssh configuration, known hosts.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use crate::process::{all_that_mention, descendants};
use crate::{Project, Run, Running, World};

/// The path of sshd in Debian; sshd must be started by its absolute path.
const SSHD: &str = "/usr/sbin/sshd";

/// The number of tries for a free port.
const MAX_TRIES: usize = 50;

/// The user's ssh configuration. OpenSSH does not use `$HOME` to find its files.
const CLIENT: &str = "\
Host *
	IdentityFile ROOT/ssh/key
	IdentitiesOnly yes
	UserKnownHostsFile ROOT/ssh/known_hosts
	GlobalKnownHostsFile /dev/null
";

/// The configuration of sshd. Each session runs `serve`. With `SHLVL`, a bash reads no `~/.bashrc` of the person who runs
/// the tests.
const SERVER: &str = "\
ListenAddress 127.0.0.1
Port PORT
HostKey ROOT/sshd/host_key
AuthorizedKeysFile ROOT/sshd/authorized_keys
StrictModes no
UsePAM no
PidFile none
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
LogLevel VERBOSE
SetEnv SHLVL=1
ForceCommand ROOT/sshd/serve
";

/// The program of each session, in the place of GitLab's shell. Its home and its faults are the test's.
const SERVE: &str = "\
#!/bin/sh
export HOME='ROOT/login' PATH='SEARCH' GIT_CONFIG_NOSYSTEM=1
cd \"$HOME\" || exit 1
echo \"$SSH_ORIGINAL_COMMAND\" >>'ROOT/sshd/commands'
fault='ROOT/sshd/fault'
if [ -e \"$fault\" ]; then . \"$fault\"; fi
exec sh -c \"$SSH_ORIGINAL_COMMAND\"
";

/// A real sshd on the loopback, of one world. Dropping it kills it with its sessions.
#[derive(Debug)]
pub struct Sshd {
    root: PathBuf,
    port: u16,
    user: String,
    server: Option<Running>,
}

impl World {
    /// Starts an sshd that lets this world's person in, and makes them an ssh of their own: a key, a configuration, and
    /// an `ssh` that reads it, first on the `PATH`.
    #[track_caller]
    pub fn sshd(&self) -> Sshd {
        for dir in ["ssh", "sshd", "login"] {
            let mut builder = fs::DirBuilder::new();
            builder
                .mode(0o700)
                .create(self.path(dir))
                .expect("the world is ours");
        }
        self.ssh_key("ssh/key");
        self.ssh_key("sshd/host_key");
        let name = self.program("id", ["-un"]).ok();
        let mut sshd = Sshd {
            root: self.root().to_owned(),
            port: 0,
            user: name.line().to_owned(),
            server: None,
        };
        let search = self.search_path().to_string_lossy().into_owned();
        sshd.write("ssh/config", CLIENT);
        self.script("sshd/serve", &sshd.here(SERVE).replace("SEARCH", &search));
        self.script(
            "bin/ssh",
            &sshd.here("#!/bin/sh\nexec /usr/bin/ssh -F ROOT/ssh/config \"$@\"\n"),
        );
        sshd.authorize(&["ssh/key"]);
        sshd.start();
        sshd.accept_host_key();
        sshd
    }

    /// Makes a key pair without a passphrase.
    #[track_caller]
    pub fn ssh_key(&self, file: &str) {
        let path = self.path(file);
        let args = ["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"];
        self.program("ssh-keygen", args).arg(path).ok();
    }

    /// Starts an ssh-agent that holds this key. It ends with the returned program.
    #[track_caller]
    pub fn ssh_agent(&self, socket: &str, key: &str) -> Running {
        let agent = self
            .program("ssh-agent", ["-D", "-a"])
            .arg(self.path(socket))
            .start();
        agent.printed("SSH_AUTH_SOCK=");
        self.program("ssh-add", ["-q"])
            .arg(self.path(key))
            .env("SSH_AUTH_SOCK", self.path(socket))
            .ok();
        agent
    }

    /// Writes a program. A shell does, for what is open here a program that another test starts just now would keep
    /// open for a moment, and running it would fail as `text file busy`.
    #[track_caller]
    pub fn script(&self, file: &str, text: &str) {
        let install = "mkdir -p \"${0%/*}\" && cat >\"$0\" && chmod 755 \"$0\"";
        self.program("sh", ["-c", install])
            .arg(self.path(file))
            .stdin(text)
            .ok();
    }
}

impl Sshd {
    /// Returns `user@host`, which signs in.
    pub fn login(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the `ssh://` URL of a project.
    pub fn url(&self, project: &Project) -> String {
        self.url_of(&project.dir().to_string_lossy())
    }

    /// Returns the `ssh://` URL of a path.
    pub fn url_of(&self, path: &str) -> String {
        format!("ssh://{}:{}{path}", self.login(), self.port)
    }

    /// Returns the address in scp's form of a path that is relative to the home of the logins.
    pub fn scp(&self, path: &str) -> String {
        format!("[{}:{}]:{path}", self.login(), self.port)
    }

    /// Creates a bare upstream in the home of the logins.
    #[track_caller]
    pub fn project(&self, name: &str) -> Project {
        Project::new(self.root.join("login").join(name))
    }

    /// Authorizes these keys, and no others.
    pub fn authorize(&self, keys: &[&str]) {
        let read = |key: &&str| fs::read_to_string(self.root.join(format!("{key}.pub")));
        let lines: Vec<_> = keys
            .iter()
            .map(|key| read(key).expect("a public key"))
            .collect();
        self.write("sshd/authorized_keys", &lines.concat());
    }

    /// Writes the server's key to the user's known hosts.
    pub fn accept_host_key(&self) {
        let key = fs::read_to_string(self.root.join("sshd/host_key.pub")).expect("a public key");
        let line = format!("[127.0.0.1]:{} {key}", self.port);
        self.write("ssh/known_hosts", &line);
    }

    /// Empties the user's known hosts.
    pub fn forget_host_key(&self) {
        self.write("ssh/known_hosts", "");
    }

    /// Adds lines to the user's ssh configuration, before what is there.
    pub fn configure(&self, lines: &str) {
        self.write("ssh/config", &format!("{lines}\n{CLIENT}"));
    }

    /// Removes the key from the user's ssh configuration: only the keys of an agent are left.
    pub fn leave_keys_to_agents(&self) {
        let (before, after) = CLIENT.split_once("\tIdentityFile").expect("a key is named");
        let after = after.split_once("yes\n").map_or("", |(_, after)| after);
        self.write(
            "ssh/config",
            &format!("{before}\tIdentityFile none\n{after}"),
        );
    }

    /// Runs these lines of shell at the beginning of each session.
    pub fn fault(&self, lines: &str) {
        self.write("sshd/fault", lines);
    }

    /// Removes these lines.
    pub fn clear_fault(&self) {
        fs::remove_file(self.root.join("sshd/fault")).expect("there is a fault");
    }

    /// Returns the commands of all sessions so far.
    pub fn commands(&self) -> Vec<String> {
        let text = fs::read_to_string(self.root.join("sshd/commands")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Returns the number of connections that were accepted since the last start.
    #[track_caller]
    pub fn accepted(&self) -> usize {
        let (_, log) = self.running().so_far();
        log.matches("Accepted publickey").count()
    }

    /// Waits until the log says this.
    #[track_caller]
    pub fn logged(&self, text: &str) {
        self.running().printed(text);
    }

    /// Starts it, on the port that it had.
    #[track_caller]
    pub fn start(&mut self) {
        self.start_with("AcceptEnv GIT_PROTOCOL\n");
    }

    /// Starts it as an administrator who has never heard of git's protocol: only the old one is spoken then.
    #[track_caller]
    pub fn start_old(&mut self) {
        self.start_with("");
    }

    #[track_caller]
    fn start_with(&mut self, lines: &str) {
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").expect("root may");
        }
        let ports = if self.port == 0 { MAX_TRIES } else { 1 };
        for _ in 0..ports {
            let port = if self.port == 0 {
                free_port()
            } else {
                self.port
            };
            let config = SERVER.replace("PORT", &port.to_string()) + lines;
            self.write("sshd/config", &config);
            let args = ["-D", "-e", "-f"];
            let server = Run::fenced(SSHD, args, &self.root)
                .arg(self.root.join("sshd/config"))
                .start();
            if server.prints("Server listening on") {
                self.port = port;
                self.server = Some(server);
                return;
            }
        }
        panic!("sshd does not start on any port; is openssh-server installed?");
    }

    /// Kills it with its sessions.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            // Nobody new is let in while those who are there are looked for.
            server.kill(Signal::STOP);
            for session in descendants(server.pid()) {
                session.signal(Signal::KILL);
            }
        }
    }

    /// Stops sshd and its sessions, as if the machine hung: connections are made, and nothing is sent.
    #[track_caller]
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues sshd and its sessions.
    #[track_caller]
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    #[track_caller]
    fn signal(&self, signal: Signal) {
        let server = self.running();
        server.kill(signal);
        for session in descendants(server.pid()) {
            session.signal(signal);
        }
    }

    #[track_caller]
    fn running(&self) -> &Running {
        self.server.as_ref().expect("sshd runs")
    }

    fn here(&self, text: &str) -> String {
        text.replace("ROOT", &self.root.to_string_lossy())
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.root.join(file), self.here(text)).expect("the world is ours");
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns a port that nobody listens at just now, from below those that the system gives to who asks for any: sshd
/// cannot be started on port 0, and must be able to come back on the one that it had.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = now.map_or(0, |now| now.subsec_micros()) ^ std::process::id();
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port =
            10_000 + u16::try_from((seed + u32::from(step) * 61) % 20_000).expect("it is small");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Returns the processes that mention a path and whose command line contains a text.
pub fn processes(path: &Path, text: &str) -> Vec<String> {
    let lines = all_that_mention(path)
        .into_iter()
        .map(|process| process.command_line());
    lines.filter(|line| line.contains(text)).collect()
}
