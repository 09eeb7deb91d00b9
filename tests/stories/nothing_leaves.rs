//! Nothing of a local branch or tag reaches upstream: whatever is fetched and pushed, everything that the server receives
//! is recorded, packs are taken apart, and no object, name or word of what is local is in it, but for what a tracked push
//! contains.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use tests::{Fault, Request, Run, mixed};

use crate::{local::fork, stage::Stage};

/// The text in the names of all local branches and tags, and in no other name.
const NAME: &str = "secret";

/// The text in all files and messages of local commits, and in nothing else.
const WORD: &str = "classified";

/// The message of commits that upstream refuses.
const UNWANTED: &str = "unwanted";

/// When local commits are made: later than any of upstream's, and so the first that a careless negotiation would name.
const LATER: u64 = 1_800_000_000;

/// People at work, and all that they have that is local.
struct Office {
    fork: Stage,
    /// Local branches and tags.
    locals: BTreeMap<String, String>,
    /// Every object that a local branch or tag ever had.
    secrets: BTreeSet<String>,
    /// Every object that upstream ever had, or was sent under a tracked name.
    open: BTreeSet<String>,
    seed: u64,
    count: u64,
    seen: Seen,
}

/// The number of requests and objects that were checked, so that the test cannot pass without any.
#[derive(Debug, Default)]
struct Seen {
    requests: usize,
    haves: usize,
    packs: usize,
    /// Local objects that a tracked push contained.
    merged: usize,
}

impl Office {
    fn new(seed: u64) -> Self {
        let fork = fork();
        let unwanted = format!("! git log -1 --format=%s $3 | grep -q {UNWANTED}");
        fork.project.hook("update", &unwanted);
        // Were it the user's wish, git would ask upstream what it has before it sends anything.
        fork.world.config("push.negotiate", "true");
        Self {
            fork,
            locals: BTreeMap::new(),
            secrets: BTreeSet::new(),
            open: BTreeSet::new(),
            seed,
            count: 0,
            seen: Seen::default(),
        }
    }

    fn chance(&self, what: u64, of: usize) -> usize {
        let number = mixed(mixed(self.seed ^ self.count) ^ what);
        usize::try_from(number % of as u64).expect("it is small")
    }

    fn person(&self) -> &'static str {
        ["ours", "theirs"][self.chance(1, 2)]
    }

    /// A random local ref, if there is any.
    fn some_local(&self) -> Option<(String, String)> {
        let at = self.chance(2, self.locals.len().max(1));
        let (name, oid) = self.locals.iter().nth(at)?;
        Some((name.clone(), oid.clone()))
    }

    fn main(&self) -> String {
        self.fork.project.tip("main").expect("upstream has it")
    }

    fn in_clone(&self, person: &str, args: &[&str]) -> Run {
        self.fork.world.git(args).at(person)
    }

    /// Commits in somebody's clone, on these parents; returns the commit.
    fn commit(&self, person: &str, args: &str, parents: &[&str]) -> String {
        let (time, number) = (LATER + self.count, self.count);
        let content = format!("{args} {number}\n").repeat(20);
        let (length, message) = (content.len(), format!("{args} {number}"));
        let mut stream = format!(
            "commit refs/scratch\nmark :1\ncommitter A <a@b> {time} +0000\ndata {}\n{message}\n",
            message.len()
        );
        for (parent, word) in parents.iter().zip(["from", "merge"]) {
            stream += &format!("{word} {parent}\n");
        }
        stream +=
            &format!("M 100644 inline {args}/{number}\ndata {length}\n{content}\nget-mark :1\n");
        let import = ["fast-import", "--quiet", "--force"];
        let imported = self.in_clone(person, &import).stdin(stream).ok();
        imported.line().to_owned()
    }

    /// Remembers what a local ref has.
    fn keep(&mut self, person: &str, name: &str, oid: &str) {
        let all = objects(self.in_clone(person, &OBJECTS).arg(oid));
        self.secrets.extend(all.difference(&self.open).cloned());
        self.locals.insert(name.to_owned(), oid.to_owned());
    }

    /// Remembers what is no secret any more, because a push to a tracked name contains it.
    fn send(&mut self, person: &str, oid: &str) {
        self.open
            .extend(objects(self.in_clone(person, &OBJECTS).arg(oid)));
    }

    /// Pushes from somebody's clone; local refs are in the mirror then.
    fn push_local(&mut self, person: &str, name: &str, oid: &str, options: &[&str]) {
        let word = format!("+{oid}:{name}");
        self.keep(person, name, oid);
        let args = [&["push", "-q", "origin"], options, &[&word]].concat();
        self.in_clone(person, &args).ok();
        assert_eq!(self.fork.mirror_tip(name).as_deref(), Some(oid), "{name}");
    }

    fn fresh_name(&self) -> String {
        format!("refs/heads/{NAME}/{}", self.count)
    }

    /// Does one thing of many, each with one fetch or push in it at least.
    fn do_something(&mut self) {
        self.count += 1;
        let (person, main) = (self.person(), self.main());
        let upstreams = objects(self.fork.project.git(OBJECTS).arg("main"));
        self.open.extend(upstreams);
        let quietly = |args: &[&str]| self.fork.world.git(args).at(person);
        quietly(&["fetch", "-q", "--prune"]).ok();
        match (self.chance(3, 16), self.some_local()) {
            (0..=2, _) | (_, None) => {
                let oid = self.commit(person, WORD, &[&main]);
                self.push_local(person, &self.fresh_name(), &oid, &[]);
            }
            (3, Some((name, old))) if name.starts_with("refs/heads/") => {
                let oid = self.commit(person, WORD, &[&old]);
                self.push_local(person, &name, &oid, &[]);
            }
            // Rebased, or rewritten.
            (4 | 3, Some((name, _))) => {
                let oid = self.commit(person, WORD, &[&main]);
                self.push_local(person, &name, &oid, &["--force"]);
            }
            (5, Some((name, _))) => {
                let word = format!(":{name}");
                self.in_clone(person, &["push", "-q", "origin", &word]).ok();
                self.locals.remove(&name);
            }
            (6, _) => {
                let oid = self.commit(person, WORD, &[&main]);
                let tag = format!("{NAME}-tag-{}", self.count);
                let args = ["tag", "-a", "-m", WORD, &tag, &oid];
                self.in_clone(person, &args).ok();
                let name = format!("refs/tags/{tag}");
                let args = ["rev-parse", &name];
                let oid = self.in_clone(person, &args).ok().line().to_owned();
                self.push_local(person, &name, &oid, &[]);
            }
            (7, _) => {
                let oid = self.commit(person, "open", &[&main]);
                self.send(person, &oid);
                let word = format!("{oid}:refs/heads/main");
                self.in_clone(person, &["push", "-q", "origin", &word]).ok();
            }
            // What is merged into what is tracked is no secret any more.
            (8, Some((_, local))) => {
                let oid = self.commit(person, "open", &[&main, &local]);
                self.send(person, &oid);
                let word = format!("{oid}:refs/heads/main");
                self.in_clone(person, &["push", "-q", "origin", &word]).ok();
            }
            (kind @ (9 | 10), _) => {
                let open = self.commit(person, "open", &[&main]);
                let local = self.commit(person, WORD, &[&main]);
                self.send(person, &open);
                let name = self.fresh_name();
                self.keep(person, &name, &local);
                let args = [format!("{open}:refs/heads/main"), format!("{local}:{name}")];
                let atomic = ["--no-atomic", "--atomic"][kind - 9];
                let args = ["push", "-q", atomic, "origin", &args[0], &args[1]];
                self.in_clone(person, &args).ok();
            }
            // Upstream refuses its part, and with that all.
            (11, _) => {
                let open = self.commit(person, UNWANTED, &[&main]);
                let local = self.commit(person, WORD, &[&main]);
                self.send(person, &open);
                let name = self.fresh_name();
                self.keep(person, &name, &local);
                let args = [format!("{open}:refs/heads/main"), format!("{local}:{name}")];
                let args = ["push", "-q", "--atomic", "origin", &args[0], &args[1]];
                self.in_clone(person, &args).fails();
                assert_eq!(self.fork.mirror_tip(&name), None);
                self.locals.remove(&name);
            }
            // Upstream is rewritten.
            (12, _) => {
                self.fork.project.force("main", "main~1");
                self.fork.project.commit("main", "rewritten", &main);
                quietly(&["fetch", "-q"]).ok();
            }
            (13, Some((_, oid))) => {
                self.fork.project.commit("main", "theirs", &main);
                quietly(&["fetch", "-q", "origin", &oid]).ok();
                quietly(&["ls-remote", "-q", "origin"]).ok();
            }
            (14, _) => {
                let oid = self.commit(person, WORD, &[&main]);
                self.fork.gitlab.stop();
                self.push_local(person, &self.fresh_name(), &oid, &[]);
                self.fork.gitlab.start();
            }
            _ => {
                self.fork.project.commit("main", "theirs", &main);
                self.fork.project.commit("beside", "theirs", &main);
                quietly(&["fetch", "-q"]).ok();
            }
        }
        self.nothing_has_left();
    }

    /// Looks at all that the server has received since the last time.
    #[track_caller]
    fn nothing_has_left(&mut self) {
        let requests = self.fork.gitlab.requests();
        self.fork.gitlab.forget_requests();
        for request in &requests {
            self.seen.requests += 1;
            self.seen.haves += request.body_text().matches("have ").count();
            let head = format!("{}?{} {:?}", request.path, request.query, request.headers);
            let text = format!("{head}{}", request.body_text());
            for word in [NAME, WORD] {
                assert!(!text.contains(word), "'{word}' leaves: {text}");
            }
            let mut named = ids(&text);
            named.extend(self.packed(request));
            let shown = named.intersection(&self.secrets);
            let (open, leaked): (Vec<_>, Vec<_>) = shown.partition(|id| self.open.contains(*id));
            assert!(leaked.is_empty(), "{leaked:?} leave: {text}");
            self.seen.merged += open.len();
        }
    }

    /// The objects in the pack of a push, as upstream itself would find them.
    #[track_caller]
    fn packed(&mut self, request: &Request) -> BTreeSet<String> {
        if !request.path.ends_with("/git-receive-pack") {
            return BTreeSet::new();
        }
        assert_eq!(request.header("content-encoding"), None, "it can be read");
        assert!(request.body.len() < 1 << 20, "all of it was kept");
        let body = &request.body;
        let Some(at) = body.windows(8).position(|word| word == b"PACK\0\0\0\x02") else {
            return BTreeSet::new();
        };
        self.seen.packs += 1;
        let scratch = self.fork.world.path("scratch.git");
        let init = ["init", "-q", "--bare", "scratch.git"];
        self.fork.world.git(init).ok();
        let objects = self.fork.project.dir().join("objects");
        let index = ["index-pack", "--stdin", "--fix-thin"];
        let index = self.fork.world.git(index).at(&scratch);
        let index = index.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects);
        let indexed = index.stdin(&body[at..]).ok();
        let (_, pack) = indexed.line().split_once('\t').expect("it names the pack");
        let verify = [
            "verify-pack",
            "-v",
            &format!("objects/pack/pack-{pack}.idx"),
        ];
        let listed = self.fork.world.git(verify).at(&scratch).ok();
        fs::remove_dir_all(scratch).expect("it is ours");
        let lines = listed.stdout.lines();
        let found = lines.filter_map(|line| line.split(' ').next());
        found
            .filter(|id| id.len() == 40)
            .map(str::to_owned)
            .collect()
    }
}

/// Lists the objects that something consists of.
const OBJECTS: [&str; 3] = ["rev-list", "--objects", "--no-object-names"];

fn objects(list: Run) -> BTreeSet<String> {
    list.ok().stdout.lines().map(str::to_owned).collect()
}

/// Everything in a text that could be an object id.
fn ids(text: &str) -> BTreeSet<String> {
    let runs = text.split(|c: char| !matches!(c, '0'..='9' | 'a'..='f'));
    let runs = runs.filter(|run| run.len() >= 40);
    // A packet's length may stand right before an id.
    let windows = runs.flat_map(|run| (0..=run.len() - 40).map(|at| run[at..at + 40].to_owned()));
    windows.collect()
}

fn work(count: usize, office: &mut Office) {
    for _ in 0..count {
        office.do_something();
    }
    for (name, oid) in &office.locals {
        assert_eq!(
            office.fork.mirror_tip(name).as_ref(),
            Some(oid),
            "{name} is kept"
        );
    }
    let names = office.fork.project.refs();
    assert!(
        names.iter().all(|(name, _)| !name.contains(NAME)),
        "{names:?}"
    );
    office.fork.is_sound();
}

/// Takes half a minute: one hundred things are done, each with a fetch and most with a push, and after each all that
/// upstream has received is taken apart. Fewer would not do each kind of thing several times.
#[test]
fn nothing_of_what_is_local_leaves_in_two_hundred_fetches_and_pushes() {
    let mut office = Office::new(4);
    // Each of these is a fetch and a push, or another fetch.
    work(100, &mut office);
    let Seen {
        requests,
        haves,
        packs,
        merged,
    } = office.seen;
    assert!(requests > 200, "{requests} requests were looked at");
    assert!(haves > 10, "{haves} times upstream was told what is here");
    assert!(packs > 10, "{packs} packs were taken apart");
    assert!(merged > 3, "{merged} local objects went along with a merge");
}

/// Takes a quarter of a minute: forty random things, as above, are needed to do each of the sixteen kinds.
#[test]
fn nothing_of_what_is_local_leaves_to_a_server_that_knows_only_the_old_protocol() {
    let mut office = Office::new(5);
    office.fork.gitlab.fault(Fault::old_protocol());
    work(40, &mut office);
    assert!(office.seen.haves > 5, "{:?}", office.seen);
}

/// Takes a quarter of a minute: forty random things, as above, are needed to do each of the sixteen kinds.
#[test]
fn nothing_of_what_is_local_leaves_where_git_itself_must_ask() {
    let mut office = Office::new(7);
    let cookies = office.fork.world.path("cookies");
    fs::write(&cookies, "").expect("the world is ours");
    let cookies = cookies.to_string_lossy().into_owned();
    office.fork.world.config("http.cookieFile", &cookies);
    work(40, &mut office);
    assert!(office.seen.haves > 5, "{:?}", office.seen);
}

/// Takes nine seconds: twenty random things, as above, around the change of the refspecs.
#[test]
fn nothing_of_what_is_local_leaves_when_its_name_becomes_tracked() {
    let mut office = Office::new(6);
    work(10, &mut office);
    office.fork.set("fork", &["--track", ""]).ok();
    let main = office.main();
    for step in ["one", "two"] {
        office.fork.project.commit("main", step, &main);
        for person in ["ours", "theirs"] {
            office.in_clone(person, &["fetch", "-q"]).ok();
        }
        office.nothing_has_left();
    }
    let oid = office.commit("ours", "open", &[&office.main()]);
    office.send("ours", &oid);
    let word = format!("{oid}:refs/heads/main");
    office
        .in_clone("ours", &["push", "-q", "origin", &word])
        .ok();
    office.fork.world.mirrord(["sync", "fork"]).ok();
    office.nothing_has_left();
    office
        .fork
        .set("fork", &["--track", "+refs/heads/main"])
        .ok();
    work(10, &mut office);
}
