//! What becomes of a body that its answer did not wait for: a little of it is taken, so that the client comes to read the answer, then the
//! connection is cut. Left to itself the server would read a chunked body to its end, and an announced one for a second, however much comes.

use std::{
    cell::RefCell,
    future::Future as _,
    os::fd::{AsFd as _, OwnedFd},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    Error, HttpMessage as _,
    body::{BodySize, BoxBody, EitherBody, MessageBody},
    dev::{Extensions, Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    middleware::Next,
    rt,
    web::Bytes,
};
use futures_util::Stream;
use rustix::net::connect_unspec;
use tokio::time::{Sleep, sleep};

/// Bytes taken beyond those that a handler wanted. Some of what is on its way must be, or the client is reset before it reads the answer.
const BYTES_MAX: usize = 256 * 1024;
/// How long they are waited for.
const WITHIN: Duration = Duration::from_secs(1);

/// A second handle of a client's connection, to end it by.
struct Socket(Arc<OwnedFd>);

/// Remembers the connection's socket; called once a connection.
pub(crate) fn remember(io: &dyn std::any::Any, connection: &mut Extensions) {
    let socket = io.downcast_ref::<rt::net::TcpStream>().and_then(|stream| stream.as_fd().try_clone_to_owned().ok());
    if let Some(socket) = socket {
        connection.insert(Socket(Arc::new(socket)));
    }
}

/// The body of a request, of which somebody else may still want the rest.
#[derive(Clone)]
struct Incoming(Rc<RefCell<Option<Payload>>>);

impl Incoming {
    fn has_ended(&self) -> bool {
        self.0.borrow().is_none()
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let mut incoming = self.0.borrow_mut();
        let Some(payload) = incoming.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(payload).poll_next(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            *incoming = None;
        }
        polled
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

/// Middleware around everything: see above.
pub(crate) async fn unread_bodies<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, Cut>>, Error> {
    let payload = request.take_payload();
    if matches!(payload, Payload::None) {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    let incoming = Incoming(Rc::new(RefCell::new(Some(payload))));
    request.set_payload(Payload::Stream { payload: Box::pin(incoming.clone()) });
    let socket = request.conn_data::<Socket>().map(|socket| Arc::clone(&socket.0));
    let response = next.call(request).await?;
    Ok(match socket {
        Some(socket) if !incoming.has_ended() => {
            response.map_body(|_, answer| EitherBody::right(Cut::after(answer.boxed(), incoming, socket)))
        }
        Some(_) | None => response.map_into_left_body(),
    })
}

/// The body of an answer that came before its request had ended: whole for the client, and then the connection's end.
pub(crate) struct Cut {
    answer: BoxBody,
    answered: bool,
    incoming: Incoming,
    socket: Arc<OwnedFd>,
    left: usize,
    until: Option<Pin<Box<Sleep>>>,
}

impl Cut {
    fn after(answer: BoxBody, incoming: Incoming, socket: Arc<OwnedFd>) -> Self {
        Self { answer, answered: false, incoming, socket, left: BYTES_MAX, until: None }
    }

    /// Takes what still comes, within limits. Pending at least once before a cut, because the buffer between here and the socket is smaller
    /// than what is taken: so the answer has been written by then.
    fn take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.incoming.poll(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    self.left = self.left.saturating_sub(chunk.len());
                    if self.left == 0 {
                        break;
                    }
                }
                // It has ended after all.
                Poll::Ready(None | Some(Err(_))) => return Poll::Ready(()),
                Poll::Pending => {
                    if self.until.get_or_insert_with(|| Box::pin(sleep(WITHIN))).as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    break;
                }
            }
        }
        // Reset, not shut: a shut socket still takes what its buffers hold, and a client that fills them waits for ever. What it was answered it
        // has. Source: connect(2), AF_UNSPEC.
        if let Err(error) = connect_unspec(&*self.socket) {
            tracing::debug!(%error, "a connection had ended before it was cut");
        }
        Poll::Ready(())
    }
}

impl MessageBody for Cut {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if !this.answered {
            match Pin::new(&mut this.answer).poll_next(cx) {
                Poll::Ready(None) => this.answered = true,
                Poll::Ready(Some(piece)) => return Poll::Ready(Some(piece)),
                Poll::Pending => return Poll::Pending,
            }
        }
        this.take(cx).map(|()| None)
    }
}
