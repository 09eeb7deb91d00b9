//! What is published is what git reads.

use common::git;
use gix::{ObjectId, bstr::BString};

use super::*;

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
            .map(|(name, oid)| (BString::from(*name), *oid))
            .collect(),
        head: Head::Branch("refs/heads/main".into()),
    };
    let sync = |upstream: &Advertisement| {
        let plan = Plan::new(
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
    };
    let plan = Plan::new(&Refs::new(), &upstream, &Refspecs::everything());
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
    let name = |refs: &Refs, head: Head| {
        super::head(refs, &head, &Refspecs::everything()).map(BString::from)
    };
    let tracked = refs(&["refs/heads/b", "refs/heads/local", "refs/upstream/heads/b"]);
    assert_eq!(
        name(&tracked, Head::Unknown),
        Some("ref: refs/heads/b\n".into())
    );
    assert_eq!(
        name(&tracked, Head::Branch("refs/notes/x".into())),
        Some("ref: refs/heads/b\n".into())
    );
    assert_eq!(name(&refs(&["refs/heads/local"]), Head::Unknown), None);
    assert_eq!(
        name(&Refs::new(), Head::Branch("refs/heads/new".into())),
        Some("ref: refs/heads/new\n".into())
    );
}
