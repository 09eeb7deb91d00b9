//! The git command that runs this helper, as far as the system shows its arguments. git tells a helper neither which
//! refs are wanted nor every option, and asks for a connection before it says what for. What is read here is a hint:
//! without it the helper does what git's own words to it say.

use std::{
    fs, io,
    os::unix::process::parent_id,
    path::Path,
    process::{Command, Stdio},
};

/// How many processes are looked at. git runs `git fetch`, that runs `git remote-mirror`, and that runs this program.
const MAX_PARENTS: usize = 4;

/// git's own options that have their value in the next argument (`handle_options()` in git's git.c).
const GLOBAL_WITH_VALUE: [&str; 7] = [
    "-c",
    "-C",
    "--git-dir",
    "--work-tree",
    "--namespace",
    "--super-prefix",
    "--config-env",
];

/// A git command, such as `fetch`, with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The command, such as `fetch`. It may be an alias.
    pub command: String,
    /// The arguments behind it.
    args: Vec<String>,
}

impl Caller {
    /// Finds the git that runs this process; None where the system does not show it.
    pub(crate) fn find() -> Option<Self> {
        let mut process = parent_id();
        for _ in 0..MAX_PARENTS {
            let shown = Shown::read(process).ok()?;
            if let Some(caller) = Self::parse(&shown.args) {
                return Some(caller);
            }
            process = shown.parent;
        }
        None
    }

    /// Parses the arguments of a process; None where it is no git, or the one that only starts this helper.
    fn parse(args: &[String]) -> Option<Self> {
        let (program, args) = args.split_first()?;
        let program = Path::new(program).file_name()?.to_str()?;
        if let Some(command) = program.strip_prefix("git-") {
            return Self::of_command(command, args);
        }
        if program != "git" {
            return None;
        }
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if !arg.starts_with('-') {
                return Self::of_command(arg, args.as_slice());
            }
            if GLOBAL_WITH_VALUE.contains(&arg.as_str()) {
                args.next();
            }
        }
        None
    }

    fn of_command(command: &str, args: &[String]) -> Option<Self> {
        (!command.starts_with("remote-")).then(|| Self {
            command: command.to_owned(),
            args: args.to_vec(),
        })
    }

    /// Whether the command has this option, such as `--negotiate-only`, with or without a value.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.last_of(&[option]).is_some()
    }

    /// Whether a `git push` overwrites what it finds.
    pub(crate) fn forces(&self) -> bool {
        let mut options = self.args.iter().take_while(|arg| *arg != "--");
        self.has("--force-with-lease")
            || options.any(|arg| {
                let short = arg.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
                arg == "--force" || short.is_some_and(|letters| letters.contains('f'))
            })
    }

    /// The arguments that are no options. The options of `with_value` have their value in the next argument.
    pub(crate) fn operands(&self, with_value: &[&str]) -> Vec<&str> {
        let (mut operands, mut args) = (Vec::new(), self.args.iter().map(String::as_str));
        while let Some(arg) = args.next() {
            if arg == "--" {
                operands.extend(args);
                break;
            }
            if with_value.contains(&arg) {
                args.next();
            } else if !arg.starts_with('-') {
                operands.push(arg);
            }
        }
        operands
    }

    /// Whether the command has an option for the server: `-o VALUE`, `-oVALUE`, `--server-option=VALUE`.
    pub(crate) fn has_server_option(&self) -> bool {
        const COMMANDS: [&str; 3] = ["fetch", "ls-remote", "pull"];
        let args = self.args.iter().take_while(|arg| *arg != "--");
        let mut given = args.filter(|arg| arg.starts_with("-o") && !arg.starts_with("--"));
        // `git clone -o` names the remote.
        let has_short = COMMANDS.contains(&&*self.command) && given.next().is_some();
        has_short || self.has("--server-option")
    }

    /// The last of these options that was given, with its value: blank where none is behind a `=`.
    pub(crate) fn last_of<'o>(&self, options: &[&'o str]) -> Option<(&'o str, &str)> {
        let args = self.args.iter().take_while(|arg| *arg != "--");
        let given = args.filter_map(|arg| {
            options.iter().find_map(|option| {
                let value = match arg.strip_prefix(option)? {
                    "" => "",
                    rest => rest.strip_prefix('=')?,
                };
                Some((*option, value))
            })
        });
        given.last()
    }
}

/// What the system shows of a process.
struct Shown {
    parent: u32,
    args: Vec<String>,
}

impl Shown {
    fn read(process: u32) -> io::Result<Self> {
        let dir = Path::new("/proc").join(process.to_string());
        match fs::read(dir.join("cmdline")) {
            Ok(args) => {
                let stat = fs::read_to_string(dir.join("stat"))?;
                // proc_pid_stat(5): the parent is the second field behind the name, which may have any character.
                let parent = stat.rsplit_once(')');
                let parent =
                    parent.and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
                let args = args.strip_suffix(b"\0").unwrap_or(&args);
                let args = args.split(|byte| *byte == 0);
                Ok(Self {
                    parent: parent.ok_or(io::ErrorKind::InvalidData)?,
                    args: args
                        .map(|arg| String::from_utf8_lossy(arg).into_owned())
                        .collect(),
                })
            }
            Err(_) => Self::by_ps(process),
        }
    }

    /// Asks ps(1). It separates arguments by blanks, so one with a blank becomes two.
    fn by_ps(process: u32) -> io::Result<Self> {
        let mut ps = Command::new("ps");
        ps.args(["-o", "ppid=", "-o", "args=", "-p", &process.to_string()]);
        let output = ps.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.split_whitespace();
        let parent = words.next().and_then(|word| word.parse().ok());
        Ok(Self {
            parent: parent.ok_or(io::ErrorKind::InvalidData)?,
            args: words.map(str::to_owned).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Option<Caller> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        Caller::parse(&args)
    }

    #[test]
    fn the_command_is_found_behind_gits_own_options() {
        let caller = parse(&[
            "/usr/bin/git",
            "-c",
            "a.b=c",
            "--bare",
            "-C",
            "x",
            "fetch",
            "-q",
            "origin",
        ]);
        let caller = caller.expect("a command");
        assert_eq!(
            (&*caller.command, &caller.args[..]),
            ("fetch", &["-q".to_owned(), "origin".to_owned()][..])
        );
        assert_eq!(
            parse(&["git-fetch", "-q"])
                .map(|caller| caller.command)
                .as_deref(),
            Some("fetch")
        );
    }

    #[test]
    fn what_only_starts_this_helper_and_what_is_no_git_is_passed_over() {
        for args in [
            &["git", "remote-mirror", "origin", "x"][..],
            &["sh", "-c", "git fetch"],
            &["git", "--version"],
            &[],
        ] {
            assert_eq!(parse(args), None, "{args:?}");
        }
    }

    #[test]
    fn an_option_is_read_up_to_the_double_dash() {
        let caller = parse(&[
            "git",
            "push",
            "--signed=if-asked",
            "--signed",
            "origin",
            "--",
            "--atomic",
        ])
        .expect("a command");
        let last = caller.last_of(&["--signed", "--no-signed"]);
        assert_eq!(last, Some(("--signed", "")));
        assert!(!caller.has("--atomic") && !caller.has("--sign"));
    }

    #[test]
    fn operands_are_neither_options_nor_their_values() {
        let fetch = [
            "git", "fetch", "origin", "--depth", "20", "-q", "+a:b", "--", "-c",
        ];
        let caller = parse(&fetch).expect("a command");
        assert_eq!(caller.operands(&["--depth"]), ["origin", "+a:b", "-c"]);
        let forces =
            |args: &[&str]| parse(&[&["git", "push"], args].concat()).is_some_and(|it| it.forces());
        assert!(forces(&["-qf", "origin"]) && forces(&["--force-with-lease=a:"]));
        assert!(!forces(&["--follow-tags", "origin", "-q", "--", "-f"]));
    }

    #[test]
    fn the_system_shows_this_process_and_its_parent() {
        let shown = Shown::read(std::process::id()).expect("it runs");
        assert_eq!(shown.parent, parent_id());
        assert_eq!(shown.args, std::env::args().collect::<Vec<_>>());
    }
}
