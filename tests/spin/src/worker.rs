//! When instances are made and go.

use std::future::{Future, pending};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use wasmtime::component::GuestTaskId;
use wasmtime::{Engine, Result, Store, StoreContextMut};
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyPre, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};

use crate::state::{State, Variables};

/// Makes instances.
pub struct Instances {
    pub engine: Engine,
    pub pre: ProxyPre<State>,
    pub variables: Variables,
    pub reuse: usize,
    pub concurrent: usize,
}

impl HandlerState for Instances {
    type StoreData = State;
    type WorkerExpiration = WhenIdle;
    type WorkerState = Reuse;

    async fn instantiate(&self) -> Result<Instance<State, WhenIdle, Reuse>> {
        let mut store = Store::new(&self.engine, State::new(self.variables.clone()));
        let proxy = self.pre.instantiate_async(&mut store).await?;
        let state = Reuse { reuse: self.reuse, concurrent: self.concurrent };
        Ok(Instance { store, proxy, view: State::view, expiration: WhenIdle(None), state })
    }
}

/// How often and by how many an instance is used.
pub struct Reuse {
    reuse: usize,
    concurrent: usize,
}

impl WorkerState for Reuse {
    type StoreData = State;
    type RequestData = ();

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        if total >= self.reuse {
            ShouldAccept::Never
        } else if concurrent >= self.concurrent {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, State>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        Box::pin(pending())
    }

    fn drop(&self, store: Store<State>, result: Result<()>) {
        if let Err(error) = result {
            eprintln!("an instance failed: {error:?}");
        }
        drop(store);
    }
}

/// An instance that has had nothing to do for a second goes.
pub struct WhenIdle(Option<Pin<Box<tokio::time::Sleep>>>);

const IDLE: Duration = Duration::from_secs(1);

impl WorkerExpiration for WhenIdle {
    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        if status != WorkerStatus::Idle {
            self.0 = None;
            return Poll::Pending;
        }
        let until = (start + IDLE).into();
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        sleep.as_mut().poll(context)
    }
}
