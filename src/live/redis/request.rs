//! A command or a script call, as it is sent to whichever node has its key.

use ::redis::aio::MultiplexedConnection;
use ::redis::{Arg, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs};

/// A Lua script. A server that does not know it is sent its code once.
pub(super) struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    pub(super) fn new(code: &'static str) -> Self {
        let hash = ::redis::Script::new(code).get_hash().to_owned();
        Self { code, hash }
    }

    /// A call of it on these keys, in a cluster all of one slot.
    pub(super) fn on<'k>(&self, keys: impl IntoIterator<Item = &'k String, IntoIter: Clone>) -> Request {
        let mut command = ::redis::cmd("EVALSHA");
        let keys = keys.into_iter();
        command.arg(&self.hash).arg(keys.clone().count());
        keys.clone().for_each(|key| {
            command.arg(key);
        });
        Request {
            key: keys.clone().next().cloned().unwrap_or_default(),
            command,
            code: Some(self.code),
        }
    }
}

/// A command or a script call.
pub(super) struct Request {
    key: String,
    command: Cmd,
    /// The script that is called.
    code: Option<&'static str>,
}

impl Request {
    /// The command `name`, sent to the node that has `key`.
    pub(super) fn command(name: &str, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            command: ::redis::cmd(name),
            code: None,
        }
    }

    /// With one more argument.
    pub(super) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        self.command.arg(argument);
        self
    }

    /// The key that decides which node is asked.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Sends it. `asking`: to a node that is just taking the slot over.
    pub(super) async fn send<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
        asking: bool,
    ) -> Result<T, RedisError> {
        let sent = send(&self.command, connection, asking).await;
        match (&sent, self.code) {
            (Err(error), Some(code)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // With its code, so that a cluster need not be sent it everywhere first.
                send(&self.with_code(code), connection, asking).await
            }
            _ => sent,
        }
    }

    fn with_code(&self, code: &str) -> Cmd {
        let mut eval = ::redis::cmd("EVAL");
        eval.arg(code);
        for argument in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = argument {
                eval.arg(bytes);
            }
        }
        eval
    }
}

async fn send<T: FromRedisValue>(
    command: &Cmd,
    connection: &mut MultiplexedConnection,
    asking: bool,
) -> Result<T, RedisError> {
    if !asking {
        return command.query_async(connection).await;
    }
    let mut both = ::redis::pipe();
    both.cmd("ASKING").ignore().add_command(command.clone());
    let (reply,) = both.query_async(connection).await?;
    Ok(reply)
}
