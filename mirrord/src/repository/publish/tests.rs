//! What is published is what git reads.

use common::{git, refspec::UpstreamRef};
use gix::{ObjectId, bstr::BString};

use super::*;
use crate::repository::{plan::Head, refs::Refs};

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    gix::create::into(
        dir.path(),
        gix::create::Kind::Bare,
        gix::create::Options::default(),
    )
    .expect("created");
    dir
}

fn git(dir: &Path, args: &[&str]) -> String {
    let output = git::at(dir).args(args).output().expect("git runs");
    assert!(
        output.status.success(),
        "git {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

fn commit(dir: &Path, text: &str) -> ObjectId {
    let tree = git(dir, &["hash-object", "-t", "tree", "-w", "/dev/null"]);
    let id = git(
        dir,
        &[
            "-c",
            "user.name=M",
            "-c",
            "user.email=m@m",
            "commit-tree",
            "-m",
            text,
            &tree,
        ],
    );
    ObjectId::from_hex(id.as_bytes()).expect("hex")
}

#[test]
fn git_reads_what_was_published() {
    let dir = repository();
    let (one, two) = (commit(dir.path(), "one"), commit(dir.path(), "two"));
    let upstream = |refs: &[(&str, ObjectId)]| Advertisement {
        refs: refs
            .iter()
            .map(|(name, oid)| (UpstreamRef::new(*name), *oid))
            .collect(),
        head: Head::Branch("refs/heads/main".into()),
        ..Advertisement::default()
    };
    let sync = |upstream: &Advertisement| {
        let plan = Plan::of_sync(
            &refs::read(dir.path()).expect("readable"),
            upstream,
            &Refspecs::everything(),
        );
        publish(dir.path(), &plan, Some(upstream), &Refspecs::everything()).expect("published")
    };
    sync(&upstream(&[
        ("refs/heads/main", one),
        ("refs/heads/a", two),
    ]));
    let moved = sync(&upstream(&[
        ("refs/heads/main", two),
        ("refs/heads/a/b", one),
    ]));
    assert_eq!(
        moved,
        Published {
            moved: 3,
            again: false
        }
    );
    let listed = git(
        dir.path(),
        &[
            "for-each-ref",
            "--format=%(refname) %(objectname)",
            "refs/heads",
        ],
    );
    assert_eq!(
        listed,
        format!("refs/heads/a/b {one}\nrefs/heads/main {two}")
    );
    assert_eq!(
        git(dir.path(), &["symbolic-ref", "HEAD"]),
        "refs/heads/main"
    );
}

#[test]
fn a_ref_that_moved_since_upstream_was_asked_is_left_alone() {
    let dir = repository();
    let (one, two) = (commit(dir.path(), "one"), commit(dir.path(), "two"));
    let upstream = Advertisement {
        refs: [("refs/heads/main".into(), one)].into(),
        head: Head::Unknown,
        ..Advertisement::default()
    };
    let plan = Plan::of_sync(&Refs::new(), &upstream, &Refspecs::everything());
    git(
        dir.path(),
        &["update-ref", "refs/heads/main", &two.to_string()],
    );
    let published =
        publish(dir.path(), &plan, Some(&upstream), &Refspecs::everything()).expect("published");
    assert!(published.again);
    assert_eq!(
        git(dir.path(), &["rev-parse", "refs/heads/main"]),
        two.to_string()
    );
}

#[test]
fn head_falls_back_to_a_tracked_branch_and_never_to_a_local_one() {
    let refs = |names: &[&str]| -> Refs {
        names
            .iter()
            .map(|name| (BString::from(*name), ObjectId::null(gix::hash::Kind::Sha1)))
            .collect()
    };
    let now = |refs: &Refs, head: Option<Head>, now: &str| {
        let head = head::choose(refs, head.as_ref(), now.as_bytes(), &Refspecs::everything());
        String::from_utf8(head).expect("text")
    };
    let upstreams = |refs: &Refs, branch: &str| {
        let head = now(refs, Some(Head::Branch(branch.into())), "");
        head.strip_prefix("ref: refs/heads/").map(str::to_owned)
    };
    let tracked = refs(&[
        "refs/heads/b",
        "refs/heads/c",
        "refs/heads/local",
        "refs/upstream/heads/b",
        "refs/upstream/heads/c",
    ]);
    assert_eq!(upstreams(&tracked, "refs/heads/c").as_deref(), Some("c\n"));
    assert_eq!(
        upstreams(&tracked, "refs/heads/unborn").as_deref(),
        Some("unborn\n")
    );
    for branch in ["refs/notes/x", "refs/heads/local"] {
        assert_eq!(
            upstreams(&tracked, branch).as_deref(),
            Some("b\n"),
            "{branch}"
        );
    }
    let unknown = Some(Head::Unknown);
    assert_eq!(
        now(&tracked, unknown, "ref: refs/heads/c\n"),
        "ref: refs/heads/b\n"
    );
    assert_eq!(
        now(&tracked, None, "ref: refs/heads/c\n"),
        "ref: refs/heads/c\n"
    );
    assert_eq!(
        now(&tracked, None, "ref: refs/heads/gone\n"),
        "ref: refs/heads/b\n"
    );
    assert_eq!(
        upstreams(&Refs::new(), "refs/heads/new").as_deref(),
        Some("new\n")
    );
    let local = refs(&["refs/heads/main", "refs/heads/master/x"]);
    assert_eq!(
        upstreams(&local, "refs/heads/main").as_deref(),
        Some("unborn-1\n")
    );
}
