//! The request of `mirrord test`: tries out an upstream, and changes nothing.

use std::sync::Arc;

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, OrFailure, Reply, Test},
};

use crate::{
    mirrors::{config::Config, registry::Target, settings::Settings},
    requests::{
        conversation::Conversation,
        credential::SuppliedCredential,
        edit,
        error::RequestError,
        fetch::{Extent, MirrorRequest, ProbeError},
        resolve::resolve,
    },
    sync::Engine,
};

/// Tests an upstream, and sends the client each step as it is done.
///
/// # Errors
/// Fails where the test cannot begin.
pub(crate) async fn test(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    test: Test,
) -> Result<Reply, RequestError> {
    let Test {
        fetch,
        settings,
        credential,
    } = test;
    let resolved = resolve(engine, &fetch.mirror)?;
    let settings = tested_settings(engine, &resolved.typed, &resolved.target, &settings)?;
    let mut request = MirrorRequest::new(engine, conversation, fetch, resolved)?;
    if let Some(credential) = credential {
        let supplied = SuppliedCredential::new(credential, request.url())?;
        request.use_credential(supplied);
    }
    let works = match request.probe(&settings.rules.track, Extent::Full).await {
        Ok(_) => true,
        Err(ProbeError::Unusable {
            is_reported: true, ..
        }) => false,
        Err(err) => return Err(err.into()),
    };
    let url = request.url().to_string();
    Ok(Reply::Tested { works, url })
}

/// The settings of the mirror that is meant, or of the one that would be made, with those that were typed for this test.
fn tested_settings(
    engine: &Engine,
    url: &UpstreamUrl,
    target: &Target,
    typed: &[(String, String)],
) -> Result<Settings, Failure> {
    let found = engine
        .registry
        .mirror_at(&target.git_dir)
        .or_failure("cannot read the mirror")?;
    let mut settings = match found {
        Some(mirror) => mirror.settings,
        None => Settings::for_url(url, Config::read(&engine.config)?.defaults),
    };
    edit::apply(&mut settings, typed)?;
    Ok(settings)
}
