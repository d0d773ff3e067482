//! Serving one connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::activity::{Activity, Timeouts};
use super::slots::Slot;
use super::socket::{Socket, take_tcp_stream};
use crate::access::address::AddressPermit;
use crate::http::error::Problem;
use crate::http::head::reader::{Findings, Reader};
use crate::http::head::{Limits, Malformed};
use crate::http::outer_layer;
use crate::stream::Connection;

/// Serves connections. Cheap to clone.
#[derive(Clone)]
pub struct ConnectionServer {
    /// HTTP/1.1 with its limits.
    pub http: http1::Builder,
    /// Answers the requests.
    pub router: Router,
    /// Limits of a head.
    pub limits: Limits,
    /// Timeouts of each connection.
    pub timeouts: Timeouts,
    /// Ends idle connections, and the others after their request.
    pub shutdown: CancellationToken,
    /// Closes all connections.
    pub abort: CancellationToken,
}

impl ConnectionServer {
    /// Serves a connection until it ends. `slot` and `permit` are released when it becomes a stream.
    pub async fn serve(self, stream: TcpStream, peer: SocketAddr, slot: Slot, permit: AddressPermit) {
        let handle = Connection::new(take_tcp_stream);
        let (activity, abort) = (Arc::clone(&slot.activity), self.abort.clone());
        let findings = Arc::<Findings>::default();
        let socket = Socket::new(stream, Arc::clone(&activity), Arc::clone(&findings), handle.clone(), self.timeouts);
        let reader = Reader::new(socket, self.limits, self.timeouts.discard, Arc::clone(&findings));
        let requests = self.answer_requests(reader, findings, peer, handle.clone(), Arc::clone(&activity));
        tokio::pin!(requests);
        tokio::select! {
            () = requests.as_mut() => return,
            () = abort.cancelled() => return,
            () = activity.evicted() => return,
            () = handle.became_stream() => drop((slot, permit)),
        }
        tokio::select! {
            () = requests => {}
            () = abort.cancelled() => {}
            () = handle.hung_up() => {}
        }
    }

    async fn answer_requests(
        self,
        reader: Reader<Socket>,
        findings: Arc<Findings>,
        peer: SocketAddr,
        handle: Connection,
        activity: Arc<Activity>,
    ) {
        let Self { http, router, shutdown, .. } = self;
        let service = service_fn(move |request: Request<Incoming>| {
            activity.begin_response();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(handle.clone());
            let (router, activity) = (router.clone(), Arc::clone(&activity));
            // now, before the next request is read
            let (rejected, handshake) = (findings.rejected(), findings.is_handshake());
            async move {
                let response = match rejected {
                    Some(malformed) => reject(malformed),
                    None => router.oneshot(request).await.unwrap_or_else(|never| match never {}),
                };
                let response = if handshake { or_close(response) } else { response };
                Ok::<_, Infallible>(response.map(|body| ResponseBody { body, activity }))
            }
        });
        let connection = http.serve_connection(TokioIo::new(reader), service).with_upgrades();
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "connection closed with an error");
        }
    }
}

/// The answer to a malformed request, the last one of its connection.
fn reject(malformed: Malformed) -> Response {
    let mut response = Problem::new(malformed.status(), malformed.to_string()).into_response();
    outer_layer::add_security_headers(response.headers_mut());
    close(&mut response);
    response
}

/// Ends the connection after this response.
fn close(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// Ends the connection unless it becomes a WebSocket.
fn or_close(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        close(&mut response);
    }
    response
}

/// Body of a response, which tells the connection's activity when hyper is done with it.
struct ResponseBody {
    body: Body,
    activity: Arc<Activity>,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.activity.end_response();
    }
}
