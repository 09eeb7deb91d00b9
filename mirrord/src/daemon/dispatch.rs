//! Hands each request to what carries it out, in `requests`, and sends the final reply. `common/src/protocol` says which
//! replies each request gets.

use common::protocol::{Cause, Failure, Reply, Request, wire::WireError};

use super::server::Server;
use crate::{
    requests::{
        add, complaint, conversation::Conversation, edit, error::RequestError, fetch, history, log,
        push, resolve::passes_through, show, sync_command, test,
    },
    sync::SyncOptions,
};

impl Server {
    /// Carries out one request, to its final reply.
    pub(super) async fn answer(
        &self,
        mut conversation: Conversation,
        request: Request,
    ) -> Result<(), WireError> {
        let _admitted = match self.connections.admit(&request) {
            Ok(admitted) => admitted,
            Err(failure) => return conversation.send(&Reply::Failed(failure)).await,
        };
        let stops = matches!(request, Request::Stop);
        match self.dispatch(&mut conversation, request).await {
            Ok(()) => {}
            Err(RequestError::Failed(failure)) => {
                conversation.send(&Reply::Failed(failure)).await?;
            }
            Err(RequestError::Disconnected(err)) => return Err(err),
        }
        if stops {
            self.stop(conversation);
        }
        Ok(())
    }

    async fn dispatch(
        &self,
        conversation: &mut Conversation,
        request: Request,
    ) -> Result<(), RequestError> {
        let engine = &self.engine;
        let reply = match request {
            Request::Fetch(request) => return fetch::serve(engine, conversation, request).await,
            Request::Push(request) => return push::open(engine, conversation, request).await,
            Request::CarryOutPush(request) => push::execute(engine, conversation, request).await?,
            Request::SendPush(request) => push::send(engine, conversation, request).await?,
            Request::CheckObjects(git_dir) => {
                complaint::check_objects(engine, &git_dir);
                Reply::Done
            }
            Request::PassesThrough(mirror) => {
                Reply::PassesThrough(passes_through(engine, &mirror)?)
            }
            Request::Download(request) => {
                fetch::make_mirror(engine, request);
                Reply::Done
            }
            Request::Login { id, push, origin } => {
                let logins = &engine.upstreams.logins;
                let login = logins.redeem(&id, push.as_deref(), &origin);
                Reply::Login(login.ok_or_else(|| Failure::here("no login waits under this id"))?)
            }
            Request::LoginTried { id, accepted } => {
                push::record_login_tried(engine, &id, accepted).await;
                Reply::Done
            }
            Request::Question { id, push, prompt } => {
                let questions = &engine.upstreams.questions;
                let answering = questions.answer(&id, push.as_deref(), prompt);
                let answer = conversation.wait_quietly(answering).await?;
                Reply::Answer(answer.ok_or_else(|| Failure::here("nobody answers"))?)
            }
            Request::Add(request) => add::add(engine, conversation, request).await?,
            Request::Test(request) => test::test(engine, conversation, request).await?,
            Request::Sync(request) => {
                let options = SyncOptions::new(Cause::Command);
                sync_command::sync(engine, conversation, request, options).await?
            }
            Request::Accept(request) => {
                let options = SyncOptions {
                    accept: true,
                    ..SyncOptions::new(Cause::Command)
                };
                sync_command::sync(engine, conversation, request, options).await?
            }
            Request::Set(request) => {
                let setting = edit::set(engine, request);
                conversation.wait_quietly(setting).await??
            }
            Request::Rename(mirror, name) => {
                let renaming = edit::rename(engine, &mirror, &name);
                conversation.wait_quietly(renaming).await??
            }
            Request::Remove { mirror, force } => {
                let bundles = self.paths.bundles();
                edit::remove(engine, conversation, &mirror, force, bundles).await?
            }
            Request::Restore(request) => {
                let restoring = history::restore(engine, &request);
                conversation.wait_quietly(restoring).await??
            }
            Request::History(mirror, name) => {
                history::history(engine, conversation, &mirror, name.as_deref()).await?
            }
            Request::Show(mirror) => show::show(engine, conversation, mirror).await?,
            Request::Config(config) => Reply::Settings(show::config(&engine.config, config)?),
            Request::Webhook(request) => {
                let done = self.webhook.execute(request);
                conversation.wait_quietly(done).await??
            }
            Request::List => show::list(engine, conversation).await?,
            Request::Status => self.status(conversation).await?,
            Request::Log(request) => log::log(engine, conversation, request).await?,
            Request::Stop => Reply::Done,
        };
        conversation.send(&reply).await?;
        Ok(())
    }
}
