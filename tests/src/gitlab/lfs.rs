//! Large files, of which this GitLab has none; see GitLab's `lfs_api_controller.rb` and `lfs_request.rb`.

use std::sync::atomic::Ordering;

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;

use super::answer::{Answer, Input};
use super::log::Entry;
use super::server::Shared;

/// The path below a repository at which git-lfs asks for files.
pub(super) const BATCH: &str = "info/lfs/objects/batch";

const KIND: &str = "application/vnd.git-lfs+json";

/// Answers a question after files: there is none of them, each says so for itself.
pub(super) async fn answer(shared: &Shared, input: Input, entry: &Entry) -> Answer {
    let say = |status, text: &str| {
        Answer::new(status, text.to_owned()).header(CONTENT_TYPE.as_str(), KIND)
    };
    if shared.without_lfs.load(Ordering::Relaxed) {
        let text =
            r#"{"message":"Git LFS is not enabled on this GitLab server, contact your admin."}"#;
        return say(StatusCode::NOT_IMPLEMENTED, text);
    }
    let question = match input {
        Input::Whole(bytes) => bytes,
        Input::Stream(body) => match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => return say(StatusCode::BAD_REQUEST, &error.to_string()),
        },
    };
    entry.read(&question);
    let question = String::from_utf8_lossy(&question);
    if !question.contains("\"oid\"") {
        return say(StatusCode::NOT_FOUND, r#"{"message":"Not found."}"#);
    }
    say(
        StatusCode::OK,
        r#"{"objects":[{"error":{"code":404,"message":"Object does not exist on the server"}}]}"#,
    )
}
