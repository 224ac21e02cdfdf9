package import NIOSSL

/// How other machines' gateways are let in.
package struct EntryTLS: Sendable {
  /// TLS that asks for a certificate of the cluster.
  package var context: NIOSSLContext
  /// Whether the holder of a certificate of the cluster may reach pods: a gateway may, another node may not.
  package var admits: @Sendable (NIOSSLCertificate) -> Bool

  /// Both.
  package init(context: NIOSSLContext, admits: @escaping @Sendable (NIOSSLCertificate) -> Bool) {
    self.context = context
    self.admits = admits
  }
}
