//! The command loop of a remote helper, in the order in which git sends.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    path::PathBuf,
};

use common::{
    errand,
    link::Link,
    progress::{masked, tell},
    protocol::Failure,
    standing::UserConfig,
    upstream_url::Address,
};

use crate::{
    catch_up::{self, Tips},
    list::Refs,
    place::{self, Place},
    push,
    serving::Serving,
    stream,
};

/// No line that git sends comes near this.
const LONGEST_LINE: usize = 1 << 16;

/// What git said of how to behave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// `option progress`: git has looked at the terminal, at `--progress` and at `-q`.
    pub progress: bool,
    /// `option verbosity`: 0 is quiet, 1 the default.
    pub verbosity: u32,
    /// Whether only a part of the history, or of its objects, is wanted, or more than what is new: only git's own
    /// protocol can say which.
    pub part: bool,
    /// `option cloning`: nothing is there yet, and all of what is fetched is checked out or left at that.
    pub cloning: bool,
    /// `option check-connectivity`: whether git wants to hear that nothing is missing.
    pub check_connectivity: bool,
}

/// What a person asked for, and from where.
pub(crate) struct Errand {
    /// The remote's name, or its URL when it has none.
    pub remote: String,
    /// The mirror that is meant.
    pub address: Address,
    /// What git would read here.
    pub config: UserConfig,
    /// The repository that git runs us in.
    pub place: Option<Place>,
    /// How to behave.
    pub options: Options,
}

impl Errand {
    /// The user name that was typed into the URL.
    pub(crate) fn username(&self) -> Option<&str> {
        match &self.address {
            Address::Url(_, Some(login)) => Some(login.username.as_str()),
            _ => None,
        }
    }
}

/// A fetch that goes by `list` and `fetch`, from a mirror that is in step.
struct Listed {
    serving: Serving,
    refs: Refs,
    place: Option<Place>,
    link: Link,
    /// What is in the repository already, once git wants something.
    tips: Option<Tips>,
}

/// Obeys git until it is done.
///
/// # Errors
/// Fails with what the person should read; git dies with us.
pub(crate) fn run(remote: &str, address: &str) -> Result<(), Failure> {
    let mut options = Options {
        progress: false,
        verbosity: 1,
        part: false,
        cloning: false,
        check_connectivity: false,
    };
    let mut listed: Option<Listed> = None;
    loop {
        let line = read_line().map_err(|err| Failure::io("cannot hear git", &err))?;
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["capabilities"] => {
                answer("connect\nfetch\noption\ncheck-connectivity\nobject-format\n\n")?;
            }
            ["option", name, value @ ..] => answer(options.set(name, value))?,
            ["connect", service] => match (*service, &mut listed) {
                // It is asked once more, before anything is fetched.
                ("git-upload-pack", Some(listed)) => {
                    if !options.cloning {
                        listed.tips.get_or_insert_with(Tips::begin);
                    }
                    answer("fallback\n")?;
                }
                ("git-upload-pack", None) => {
                    let errand = errand(remote, address, options)?;
                    match Listed::begin(errand)? {
                        Ok(begun) => listed = Some(begun),
                        Err(serving) => return stream::run(&serving, service),
                    }
                    answer("fallback\n")?;
                }
                _ => return connect(service, remote, address, options),
            },
            ["list"] => {
                let Some(listed) = &listed else {
                    return Err(not_understood(&line));
                };
                let mut lines = listed.refs.lines();
                lines.push(b'\n');
                write(&lines)?;
            }
            ["fetch", first, ..] => {
                let Some(listed) = &mut listed else {
                    return Err(not_understood(&line));
                };
                let wants = read_wants(first)?;
                listed.fetch(&wants, options)?;
            }
            // git closes its end, or sends an empty line, when it is done.
            [""] => return Ok(()),
            _ => return Err(not_understood(&line)),
        }
    }
}

fn not_understood(line: &str) -> Failure {
    Failure::here(format!(
        "git sent '{}', which is not understood",
        masked(line.as_bytes())
    ))
}

/// Becomes the other end of git's line.
fn connect(service: &str, remote: &str, typed: &str, options: Options) -> Result<(), Failure> {
    let errand = errand(remote, typed, options)?;
    match service {
        "git-upload-archive" => stream::run(&Serving::begin(&errand)?, service),
        "git-receive-pack" => push::run(&errand),
        _ => Err(Failure::here(format!(
            "git wants '{}', which is not served",
            masked(service.as_bytes())
        ))),
    }
}

fn errand(remote: &str, typed: &str, options: Options) -> Result<Errand, Failure> {
    let config = UserConfig::read();
    let config = config.map_err(|err| Failure::io("cannot read git's configuration", &err))?;
    let place = Place::find();
    let place = place.map_err(|err| Failure::io("cannot look at the repository", &err))?;
    Ok(Errand {
        place,
        remote: remote.to_owned(),
        address: errand::resolve(typed, &config)?,
        config,
        options,
    })
}

impl Options {
    /// Takes one, and returns what git is told of it.
    fn set(&mut self, name: &str, value: &[&str]) -> &'static str {
        let yes = value == ["true"];
        match name {
            "progress" => self.progress = yes,
            "verbosity" => self.verbosity = value.concat().parse().unwrap_or(1),
            "cloning" => self.cloning = yes,
            "check-connectivity" => self.check_connectivity = yes,
            "object-format" => {}
            // All of it travels in git's own protocol, too, which is then spoken.
            "depth" | "deepen-since" | "deepen-not" | "deepen-relative" | "filter"
            | "from-promisor" | "refetch" | "update-shallow" => {
                self.part = true;
                return "unsupported\n";
            }
            "followtags" => {
                self.part |= yes;
                return "unsupported\n";
            }
            _ => return "unsupported\n",
        }
        "ok\n"
    }
}

impl Listed {
    /// Brings the mirror in step. What cannot go by `list` goes by git's own protocol.
    fn begin(errand: Errand) -> Result<Result<Self, Serving>, Failure> {
        let config = &errand.config;
        let typed = match config.get("mirror.link") {
            Some(text) => Some(text.parse().map_err(|_| bad_link(text))?),
            None => None,
        };
        let place = errand.place.as_ref();
        let part = errand.options.part
            || typed == Some(Link::Off)
            || place::wants_fsck(config)
            || place.is_some_and(|place| place.is_partial(config))
            || place::negotiates_pushes(config);
        let serving = Serving::begin(&errand)?;
        let link = typed.unwrap_or(serving.ready.link);
        if part || link == Link::Off {
            return Ok(Err(serving));
        }
        let refs = Refs::read(&serving.ready.git_dir);
        let refs = refs.map_err(|err| Failure::io("cannot read the mirror's refs", &err))?;
        Ok(match refs {
            Some(refs) => Ok(Self {
                serving,
                refs,
                place: errand.place,
                link,
                tips: None,
            }),
            None => Err(serving),
        })
    }

    /// Brings what git wants into the repository, and tells it.
    fn fetch(&mut self, wants: &BTreeSet<Vec<u8>>, options: Options) -> Result<(), Failure> {
        let brought = match options.cloning {
            true => self.link_all(wants),
            false => self.link_new(wants, options).map(|()| None),
        };
        let lock = match brought {
            Ok(lock) => lock,
            // Whatever was in the way: git's own programs get it there.
            Err(err) => {
                if options.verbosity > 1 {
                    tell(&format!(
                        "the mirror's packs are sent and not linked: {err}"
                    ));
                }
                let known = self.refs.name_all(wants);
                stream::fetch_pack(&self.serving, wants, known, options)?;
                None
            }
        };
        let mut words = String::new();
        if let Some(pack) = lock {
            words.push_str(&format!("lock {}.keep\n", pack.display()));
            if options.check_connectivity {
                words.push_str("connectivity-ok\n");
            }
        }
        words.push('\n');
        answer(&words)
    }

    /// Links all that the mirror has into a repository in which there is nothing.
    fn link_all(&self, wants: &BTreeSet<Vec<u8>>) -> io::Result<Option<PathBuf>> {
        // Whoever wants less than all branches is to have no more than that.
        if !self.refs.branches().all(|tip| wants.contains(tip)) {
            return Err(io::Error::other("not every branch is wanted"));
        }
        let objects = self.place()?.objects();
        let mirror = &self.serving.ready.git_dir;
        crate::link::link(mirror, objects, wants, self.link).map(Some)
    }

    /// Gives a repository in which there is something what it lacks.
    fn link_new(&mut self, wants: &BTreeSet<Vec<u8>>, options: Options) -> io::Result<()> {
        // What no ref names, only git's own server decides about.
        if !self.refs.name_all(wants) {
            return Err(io::Error::other("what is wanted is what no ref names"));
        }
        let mut tips = self.tips.take().unwrap_or_else(Tips::begin);
        let place = self.place()?;
        if place.has_refused(wants) {
            return Err(io::Error::other("git did not take them"));
        }
        catch_up::bring(
            &self.serving.ready.git_dir,
            place.objects(),
            self.refs.records(),
            &mut tips,
            wants,
            (self.link, options.progress),
        )?;
        place.note_given(wants)?;
        tips.add(wants);
        self.tips = Some(tips);
        Ok(())
    }

    fn place(&self) -> io::Result<&Place> {
        let place = self.place.as_ref();
        place.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn bad_link(text: &str) -> Failure {
    let text = masked(text.as_bytes());
    let failure = Failure::here(format!("'mirror.link' is '{text}'"));
    failure.hinted("it may be 'auto', 'reflink', 'hardlink', 'copy' or 'off'")
}

/// Reads what is wanted, until a blank line: objects, in hexadecimal.
fn read_wants(first: &str) -> Result<BTreeSet<Vec<u8>>, Failure> {
    let mut wants = BTreeSet::from([first.as_bytes().to_vec()]);
    loop {
        let line = read_line().map_err(|err| Failure::io("cannot hear git", &err))?;
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            [""] => return Ok(wants),
            ["fetch", object, ..] => drop(wants.insert(object.as_bytes().to_vec())),
            _ => return Err(not_understood(&line)),
        }
    }
}

/// Reads one line and not a byte more: what follows a `connect` belongs to the program that we become.
fn read_line() -> io::Result<String> {
    let stdin = rustix::stdio::stdin();
    let mut line = Vec::new();
    let mut byte = [0];
    while rustix::io::retry_on_intr(|| rustix::io::read(stdin, &mut byte))? == 1 && byte != *b"\n" {
        if line.len() == LONGEST_LINE {
            return Err(io::Error::other("a line without end"));
        }
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Says something to git.
///
/// # Errors
/// Fails when git has gone.
pub(crate) fn answer(words: &str) -> Result<(), Failure> {
    write(words.as_bytes())
}

fn write(words: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    let said = stdout.write_all(words).and_then(|()| stdout.flush());
    said.map_err(|err| Failure::io("cannot answer git", &err))
}
