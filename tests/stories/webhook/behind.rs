//! TLS of the webhook: at an nginx in front of it, as the example has it, or in the daemon.

use tests::{Nginx, World};

use super::{Shown, webhook_on};

/// The example of nginx's configuration, which users copy.
const EXAMPLE: &str = include_str!("../../../examples/nginx-webhook.conf");

fn at(world: &World) -> String {
    let config = world.mirrord(["config", "webhook-listen"]).ok();
    config.line().to_owned()
}

#[test]
#[cfg_attr(not(nginx), ignore = "needs nginx")]
fn behind_nginx_the_webhook_is_reached_by_the_name_of_nginx() {
    let stage = webhook_on();
    let certificate = stage.world.certificate();
    let nginx = Nginx::new(&stage.world, EXAMPLE, &at(&stage.world), &certificate);
    let base = nginx.base();
    stage
        .mirrord(&["webhook", "on", "--public-url", &base])
        .ok();
    let Shown { url, token } = stage.webhook();
    assert!(url.starts_with(&base), "{url}");
    let delivery = stage.delivery().trusting(&certificate.authority);
    stage.project.commit("main", "file", "new");
    assert_eq!(delivery.send().status, 202);
    stage.wait_until_in_step();
    assert_eq!(delivery.clone().token("another").send().status, 401);
    let elsewhere = delivery.clone().to(&format!("{base}/other"));
    assert_eq!(elsewhere.send().status, 404);
    let long = tests::Delivery::of_gitlab(&url, "Push Hook", "x".repeat(1 << 20)).token(&token);
    assert_eq!(long.trusting(&certificate.authority).send().status, 202);
    // A name that is neither nginx's nor ours does not come through.
    let evil = delivery.header("Host", "evil.example");
    assert_eq!(evil.send().status, 421);
}

#[test]
fn with_its_own_certificate_it_speaks_https_alone() {
    let stage = webhook_on();
    let certificate = stage.world.certificate();
    let path = |path: &std::path::Path| path.display().to_string();
    let (cert, key) = (path(&certificate.certificate), path(&certificate.key));
    let on = ["webhook", "on", "--tls-cert", &cert, "--tls-key", &key];
    stage.mirrord(&on).ok();
    let Shown { url, .. } = stage.webhook();
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let delivery = stage.delivery().trusting(&certificate.authority);
    stage.project.commit("main", "file", "new");
    assert_eq!(delivery.send().status, 202);
    stage.wait_until_in_step();
    let plain = delivery.clone().to(&url.replace("https:", "http:"));
    plain.try_send().expect_err("it speaks nothing else");
    stage.mirrord(&["stop"]).ok();
    stage.mirrord(&["list"]).ok();
    stage.webhook();
    assert_eq!(delivery.send().status, 202, "after a restart too");
    let wrong = ["webhook", "on", "--tls-cert", &key, "--tls-key", &cert];
    let ran = stage.mirrord(&wrong).code(1);
    insta::assert_snapshot!(ran.shown(), @"error: cannot use the certificate '/world/tls/key.pem': it is not a PEM file of that");
    assert_eq!(delivery.send().status, 202, "it is as it was");
    let off = ["webhook", "on", "--tls-cert", "", "--tls-key", ""];
    stage.mirrord(&off).ok();
    assert!(stage.webhook().url.starts_with("http://"));
    assert_eq!(stage.delivery().send().status, 202);
}
