internal import Hummingbird
package import Logging

extension AdminServer {
  /// The plain HTTP port for probes and scrapers: `/healthz`, `/readyz`, `/metrics`.
  ///
  /// `metrics` answers Prometheus text; `ready` answers nil, or why the process should get no traffic (503).
  package static func metrics(
    host: String, port: Int, socket: CInt? = nil, logger: Logger, metrics: @escaping @Sendable () async -> String,
    ready: @escaping @Sendable () async -> String?
  ) -> AdminServer {
    AdminServer(host: host, port: port, socket: socket, tls: nil, authenticator: nil, logger: logger) { router in
      router.get("/metrics") { _, _ in
        var response = Response.text(await metrics())
        response.headers[.contentType] = "text/plain; version=0.0.4; charset=utf-8"
        return response
      }
      router.get("/readyz") { _, _ in
        if let reason = await ready() { return Response.text(reason + "\n", status: .serviceUnavailable) }
        return Response.text("ok\n")
      }
    }
  }
}
