//! First bytes first: a part of a project that has no mirror yet comes straight from upstream, by git's own transport, and
//! the mirror is made once it has come.
//!
//! What git says to `git upload-pack` is what it says to a web server, but that there each of its requests is one of
//! HTTP's, and each answer has an end. So its own helper for http is asked for a `stateless-connect`, as
//! gitremote-helpers(7) has it, and what it says goes through without those ends.

use std::{
    env,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use common::{
    client::{Client, something_else},
    errand, git,
    paths::Paths,
    progress::{masked, tell},
    protocol::{Failure, Mirror, Reply, Request},
    upstream_url::{Address, Scheme, UpstreamUrl},
    url_config,
};

use crate::{
    helper::{Errand, answer},
    new_remote::NewRemote,
    pkt_line,
    place::Place,
    stream::runtime,
};

/// In so many tips it is looked whether the project says where its large files are.
const MOST_TIPS: usize = 20;

/// How often it is looked whether they are there, and after which time again.
const TRIES: usize = 100;
const MOMENT: Duration = Duration::from_millis(10);

/// Brings a part from upstream if that is wanted of a project that has no mirror, and returns whether it has. Nothing has
/// been said to git before.
///
/// # Errors
/// Fails when the daemon cannot be asked, or git has gone.
pub(crate) fn run(errand: &Errand) -> Result<bool, Failure> {
    let Some(url) = wanted(errand) else {
        return Ok(false);
    };
    if !ask_leave(url)? {
        return Ok(false);
    }
    let Ok(Some(upstream)) = Upstream::reach(errand, url) else {
        // In whatever way: the daemon finds out what it is, and says it.
        return Ok(false);
    };
    let remote = NewRemote::look(errand, url.as_str());
    answer("\n")?;
    let served = upstream.serve();
    let served = served.map_err(|err| Failure::io("cannot pass upstream's answers on", &err))?;
    // git's helper for http ends well also when upstream has failed it, so what has come decides.
    if let Some(brought) = served
        && brought.first().is_some_and(|tip| is_in_place(tip))
    {
        if let Some(remote) = remote {
            remote.set_up(git::of_user, &brought[..brought.len().min(MOST_TIPS)]);
        }
        // The clone is there, whatever comes of this.
        let _ = make_mirror(errand);
    }
    Ok(true)
}

/// Whether a tip that git has read can be found. It is seen to close its end a moment before.
fn is_in_place(tip: &str) -> bool {
    (0..TRIES).any(|_| {
        let mut git = git::of_user();
        git.args(["cat-file", "-e", tip])
            .env("GIT_NO_LAZY_FETCH", "1")
            .stderr(Stdio::null());
        let found = git.status().is_ok_and(|status| status.success());
        if !found {
            thread::sleep(MOMENT);
        }
        found
    })
}

/// Where it would come from, if a part of it is wanted and nothing is there yet, or what was left out of such a part.
fn wanted(errand: &Errand) -> Option<&UpstreamUrl> {
    let options = &errand.options;
    let is_part = options.depth.is_some() || options.follow_tags;
    let has_nothing = || errand.place.as_ref().is_some_and(Place::has_nothing);
    let is_wanted = is_part && has_nothing() || errand.fetches_what_was_left_out();
    if !is_wanted || options.relative {
        return None;
    }
    match &errand.address {
        // A login would be told to whoever looks at the arguments of processes.
        Address::Url(url, None) if matches!(url.scheme(), Scheme::Http | Scheme::Https) => {
            Some(url)
        }
        _ => None,
    }
}

/// Whether there is no mirror of it, and the settings want it so.
fn ask_leave(url: &UpstreamUrl) -> Result<bool, Failure> {
    let request = Request::PassesThrough(Mirror::Url(url.to_string()));
    match converse(&request)? {
        Reply::PassesThrough(leave) => Ok(leave),
        _ => Err(something_else()),
    }
}

/// Has the daemon make the mirror, and does not wait for it.
fn make_mirror(errand: &Errand) -> Result<(), Failure> {
    let request = errand::request(&errand.address, &errand.config)?;
    converse(&Request::Download(request)).map(drop)
}

fn converse(request: &Request) -> Result<Reply, Failure> {
    let paths = Paths::from_env()?;
    runtime()?.block_on(async {
        let mut client = Client::connect_or_start(&paths).await?;
        client.say(request).await?;
        match client.hear().await? {
            Reply::Failed(failure) => Err(failure),
            reply => Ok(reply),
        }
    })
}

/// What to tell git's helper for http of how to talk to upstream, beyond what the user has configured.
fn settings(errand: &Errand, url: &UpstreamUrl) -> Vec<String> {
    // A redirect would take the login along.
    let mut settings = vec!["http.followRedirects=false".to_owned()];
    let http = url_config::matching("http", errand.config.entries(), url);
    if !http.iter().any(|(key, _)| key == "lowspeedlimit") {
        let variable = env::var("GIT_HTTP_LOW_SPEED_TIME").ok();
        let limit = url_config::no_progress(&http, variable.as_deref());
        settings.push("http.lowSpeedLimit=1".to_owned());
        settings.push(format!("http.lowSpeedTime={}", limit.as_secs()));
    }
    settings
}

/// git's own helper for http, which has reached upstream.
struct Upstream {
    git: Child,
    ask: ChildStdin,
    hear: BufReader<ChildStdout>,
    /// What it says to people, in lines.
    words: Receiver<Vec<u8>>,
}

impl Upstream {
    /// Reaches it; None where that fails, or it does not speak the protocol.
    fn reach(errand: &Errand, url: &UpstreamUrl) -> io::Result<Option<Self>> {
        let mut git = git::of_user();
        for setting in settings(errand, url) {
            git.args(["-c", &setting]);
        }
        git.arg(format!("remote-{}", url.scheme()))
            .args([&errand.remote, url.as_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut git = git.spawn()?;
        let ends = (git.stdin.take(), git.stdout.take(), git.stderr.take());
        let (Some(ask), Some(hear), Some(stderr)) = ends else {
            return Ok(None);
        };
        let (say, words) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(stderr).split(b'\n');
            lines
                .map_while(Result::ok)
                .try_for_each(|line| say.send(line))
        });
        let hear = BufReader::new(hear);
        let mut upstream = Self {
            git,
            ask,
            hear,
            words,
        };
        let mut line = String::new();
        let connected = upstream
            .ask
            .write_all(b"stateless-connect git-upload-pack\n")
            .and_then(|()| upstream.hear.read_line(&mut line));
        if connected.is_ok() && line == "\n" {
            return Ok(Some(upstream));
        }
        let _ = upstream.git.kill();
        upstream.git.wait().map(|_| None)
    }

    /// Lets git talk to it until git is done. Returns what it has asked for, in hexadecimal, and has been given; None
    /// where it did not come to that.
    fn serve(self) -> io::Result<Option<Vec<String>>> {
        let Self {
            mut git,
            mut ask,
            mut hear,
            words,
        } = self;
        let teller = thread::spawn(move || words.iter().for_each(|line| tell(&masked(&line))));
        let (say, asked) = mpsc::channel();
        thread::spawn(move || {
            let mut wants = Vec::new();
            let relayed = pkt_line::relay(&mut BufReader::new(io::stdin()), &mut ask, |line| {
                let want = line.strip_prefix(b"want ").map(<[u8]>::trim_ascii);
                wants.extend(want.map(|want| String::from_utf8_lossy(want).into_owned()));
            });
            // git closes its end when it has all that it wants, and upstream's end closes after that.
            relayed.map(|()| say.send(wants))
        });
        let stdout = File::from(rustix::stdio::stdout().try_clone_to_owned()?);
        let told = pkt_line::relay(&mut hear, &mut BufWriter::new(stdout), |_| ());
        // Else it would wait for ever for somebody to read, and we for its end.
        drop(hear);
        let is_left = |err: &io::Error| err.kind() != io::ErrorKind::UnexpectedEof;
        if told.as_ref().is_err_and(is_left) {
            // Nobody listens to it any more.
            let _ = git.kill();
            let _ = git.wait();
            return Ok(None);
        }
        // What has broken off says why.
        let ended = git.wait()?;
        let _ = teller.join();
        if told.is_err() || !ended.success() {
            return Ok(None);
        }
        // Whoever has ended before git did has failed it, and git hears of that when we end.
        Ok(asked.try_recv().ok())
    }
}
