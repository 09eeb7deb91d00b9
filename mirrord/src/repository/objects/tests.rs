//! git is asked the same.

use std::{io::Write, process::Stdio};

use super::*;
use crate::repository::sample::{Imported, Sample};

const TREE: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n";

fn write(sample: &Imported, kind: &str, text: &[u8]) -> ObjectId {
    let mut git = sample.git();
    git.args(["hash-object", "--literally", "-w", "--stdin", "-t", kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = git.spawn().expect("git runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(text).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("git runs");
    ObjectId::from_hex(output.stdout.trim_ascii_end()).expect("an object id")
}

#[test]
fn malformed_commits_are_read_as_git_reads_them() {
    let mut sample = Sample::new();
    sample.commit(&[]);
    let sample = sample.import();
    let repo = sample.open();
    let good = "author A <a@a> 1 +0000\ncommitter A <a@a> 1700000000 +0000\n\nm\n";
    let parent = format!("parent {}\n", sample.oid(1));
    let committers = [
        "A <a@a> 5 +0000\n",
        "A a@a 5 +0000\n",
        "A <a@a> b> 5 +0000\n",
        "A <a@a 5 +0000\n",
        "A <a@a>5 +0000\n",
        "A <a@a>\n",
        "A <a@a> \n",
        "A <a@a> five\n",
        "A <a@a> 5five\n",
        "A <a@a> 5 no-zone\n",
        "<> 5 +0000\n",
        "A <a@a> 5 +0000",
    ];
    let mut bodies: Vec<Vec<u8>> = committers
        .iter()
        .map(|committer| format!("{TREE}{parent}author\ncommitter {committer}").into())
        .collect();
    let lines = [
        format!("{TREE}{parent}{good}"),
        format!("{TREE}{parent}{parent}{good}"),
        format!("{TREE}{parent}author A <a> 1 +0000\n{good}"),
        format!("{TREE}{good}{parent}"),
        format!("{TREE}committer A <a@a> 5 +0000\n"),
        TREE.to_owned(),
        format!("{TREE}\n"),
        format!("{TREE}{parent}"),
        format!("{TREE}parent none"),
        format!("{TREE}{}", parent.trim_end()),
        format!("{TREE}{parent}encoding none\n\n\0"),
        format!("{parent}{good}"),
        format!("tree {good}"),
        format!("{TREE}parent none\n{good}"),
    ];
    bodies.extend(lines.map(String::into_bytes));
    for body in bodies {
        let oid = write(&sample, "commit", &body);
        let expected = CommitHeader::read_by_git(repo.path(), &oid);
        let found = Commits::new(&repo).header(&oid, &mut Vec::new());
        assert_eq!(found, expected, "{}", body.as_bstr());
        let known = Commits::new(&repo);
        let mut graph = gix::revwalk::Graph::<gix::revwalk::graph::Commit<()>>::new(known, None);
        let commit = graph.get_or_insert_commit(oid, |()| ()).expect("it parses");
        assert_eq!(commit.is_some(), expected.is_some(), "{}", body.as_bstr());
    }
}

#[test]
fn malformed_tags_are_peeled_as_git_peels_them() {
    let mut sample = Sample::new();
    sample.commit(&[]);
    let sample = sample.import();
    let repo = sample.open();
    let object = format!("object {}\n", sample.oid(1));
    let tagger = "tagger A <a@a> 1 +0000\n\nm\n";
    for (text, is_tag) in [
        (format!("{object}type commit\ntag t\n{tagger}"), true),
        (format!("{object}type commit\ntag t\n"), true),
        (format!("{object}type commit\ntag \ntagger none\n"), true),
        (format!("{object}type commit\ntag t"), false),
        (format!("{object}type commit\n{tagger}"), false),
        (format!("{object}type\ntag t\n{tagger}"), false),
        (format!("{object}type what\ntag t\n{tagger}"), false),
        (format!("type commit\ntag t\n{tagger}"), false),
    ] {
        let oid = write(&sample, "tag", text.as_bytes());
        let mut git = sample.git();
        git.args(["rev-parse", "--verify", "-q", &format!("{oid}^{{}}")]);
        assert_eq!(stdout_of(git).is_some(), is_tag, "git of {text:?}");
        let target = peel(&repo, oid).map(|(target, _)| target);
        assert_eq!(target, is_tag.then(|| sample.oid(1)), "{text:?}");
    }
}

#[test]
fn a_large_object_is_read_by_a_child_of_git() {
    let mut sample = Sample::new();
    sample.commit(&[]);
    let sample = sample.import();
    let repo = sample.open();
    let first = sample.oid(1);
    let mut commit = format!("{TREE}parent {first}\nauthor\ncommitter <> 7 +0000\n\n").into_bytes();
    commit.resize(MAX_OBJECT_BYTES + 1, b'x');
    let commit = write(&sample, "commit", &commit);
    let mut tag = format!("object {commit}\ntype commit\ntag t\n\n").into_bytes();
    tag.resize(MAX_OBJECT_BYTES + 1, b'x');
    let tag = write(&sample, "tag", &tag);
    assert!(repo.find_object(commit).is_err(), "not in this process");
    let expected = CommitHeader {
        parents: vec![first],
        date: 7,
    };
    let found = Commits::new(&repo).header(&commit, &mut Vec::new());
    assert_eq!(found, Some(expected));
    assert_eq!(peel(&repo, tag), Some((commit, Kind::Commit)));
}
