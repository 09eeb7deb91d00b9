//! gitolite behind an sshd: its rules for each ref are obeyed, in its words.

use tests::{Project, World, shown};

use super::{fill, same_as_git};
use crate::push_pair::SIDES;

/// What a person may do.
const RULES: &str = "\
repo ours plain
    - refs/heads/frozen = @all
    RW+ = alice
";

#[test]
#[cfg_attr(not(all(gitolite, sshd)), ignore = "needs gitolite and sshd")]
fn what_gitolite_serves_is_like_plain_git_and_its_refusals_too() {
    let world = World::new();
    let sshd = world.sshd();
    let home = world.path("gitolite");
    std::fs::create_dir(&home).expect("the world is ours");
    let gitolite = |args: &[&str]| world.program("gitolite", args).env("HOME", &home);
    let key = world.path("ssh/key.pub");
    // The name of the file is that of the person.
    let named = world.path("alice.pub");
    std::fs::copy(key, &named).expect("the world is ours");
    gitolite(&["setup", "-pk", &named.to_string_lossy()]).ok();
    let rules = home.join(".gitolite/conf/gitolite.conf");
    std::fs::write(rules, RULES).expect("the world is ours");
    gitolite(&["compile"]).ok();
    gitolite(&["trigger", "POST_COMPILE"]).ok();
    let projects = SIDES.map(|side| Project::new(home.join(format!("repositories/{side}.git"))));
    for project in &projects {
        fill(project);
        project.set_head("main");
    }
    sshd.fault(&format!(
        "export HOME='{}'; exec /usr/share/gitolite3/gitolite-shell alice\n",
        home.display()
    ));
    let addresses = SIDES.map(|side| sshd.url_of(&format!("/{side}")));
    same_as_git(&world, &addresses, &projects);
    let refusals = SIDES.map(|side| {
        let push = [
            "push",
            "origin",
            "HEAD:refs/heads/frozen",
            "HEAD:refs/heads/free",
        ];
        let ran = world.git(push).at(side).fails();
        let mut lines: Vec<String> = shown(&ran.stderr)
            .lines()
            .filter(|line| line.contains("DENIED") || line.contains("rejected"))
            .map(|line| line.replace(side, "repo"))
            .collect();
        lines.sort();
        lines.join("\n")
    });
    insta::assert_snapshot!(refusals[0], @"
     ! [remote rejected] HEAD -> frozen (hook declined)
    remote: FATAL: W refs/heads/frozen repo alice DENIED by refs/heads/frozen
    ");
    assert_eq!(refusals[0], refusals[1]);
    assert_eq!(projects[0].refs(), projects[1].refs());
}
