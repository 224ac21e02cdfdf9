package import Hummingbird
package import NIOCore

/// What a request on an admin server carries along.
package struct AdminContext: RequestContext {
  /// Hummingbird's own part.
  package var coreContext: CoreRequestContextStorage
  /// Who sent the request; set by the authentication.
  package var principal = Principal.anonymous
  /// The connection.
  package let channel: any Channel

  /// A context of a new request.
  package init(source: ApplicationRequestContextSource) {
    coreContext = CoreRequestContextStorage(source: source)
    channel = source.channel
  }

  /// Throws 401 or 403 unless the sender may do this.
  package func require(_ access: Access) throws { try Authorization.require(principal, access) }
}
