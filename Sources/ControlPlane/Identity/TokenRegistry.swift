package import ClusterAPI
package import ClusterModel
internal import Crypto
internal import Foundation
package import HTTPService
package import StateStore
internal import Synchronization

/// The bearer tokens of the cluster: only hashes of them are stored.
///
/// A token's text is `apus-admin.ID.SECRET`, `apus-gateway.ID.SECRET`, or `apus1.CA-HASH.ID.SECRET` for joining.
package final class TokenRegistry: Authenticator {
  /// Where tokens are kept in the store.
  package static let prefix = "identity/tokens/"
  /// The longest life of a join token, milliseconds: 30 days.
  package static let joinLifeMaximum: Int64 = 30 * 86_400_000
  /// Tokens whose records are kept in memory.
  static let cachedMax = 1024

  /// What a token is for.
  package enum Kind: String, Codable, Sendable {
    case admin, gateway, join
  }

  /// What is stored of a token.
  struct Record: Codable, Sendable, Hashable {
    let kind: Kind
    let name: String
    let secretHash: String
    let created: Timestamp
    let expires: Timestamp?
  }

  private let store: any StateStore
  private let authorityHash: String
  private let now: @Sendable () -> Timestamp
  private let cache = Mutex<[String: Record]>([:])

  /// A registry in a store; `authorityHash` goes into join tokens.
  package init(
    store: any StateStore, authorityHash: String, now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
  ) {
    self.store = store
    self.authorityHash = authorityHash
    self.now = now
  }

  // MARK: Making tokens

  /// The admin's token: `present` (from the kubeconfig) when it is still good, else a new one.
  package func admin(present: String?) async throws -> String {
    if let present, let found = try? await principal(bearer: present), found == .admin { return present }
    return try await create(.admin, name: "admin", life: nil)
  }

  /// A token for a gateway process of an id.
  package func gateway(id: String) async throws -> String { try await create(.gateway, name: id, life: nil) }

  /// A token with which members of a role join for a while; throws 400 for a life that is not 1 s … 30 d.
  package func join(_ role: MemberRole = .node, life: TimeSpan) async throws -> String {
    guard (1000...Self.joinLifeMaximum).contains(life.milliseconds) else {
      throw APIStatus.badRequest("a join token of \(life) cannot be made; use 1s to 30d")
    }
    return try await create(.join, name: role.rawValue, life: life)
  }

  private func create(_ kind: Kind, name: String, life: TimeSpan?) async throws -> String {
    let id = Self.random(bytes: 8)
    let secret = Self.random(bytes: 32)
    let time = now()
    let expires = life.map { time.advanced(milliseconds: $0.milliseconds) }
    let record = Record(
      kind: kind, name: name, secretHash: Self.hash(secret), created: time.wholeSeconds, expires: expires)
    let key = Self.prefix + id
    _ = try await store.commit(
      [.absent(key)], [.put(key, value: Array(JSONCoding.encoder.encode(record)), expires: expires?.milliseconds)])
    return kind == .join ? "apus1.\(authorityHash).\(id).\(secret)" : "apus-\(kind.rawValue).\(id).\(secret)"
  }

  /// Forgets a token by its id; it is refused from now on.
  package func revoke(id: String) async throws {
    _ = try await store.commit([], [.delete(Self.prefix + id)])
    cache.withLock { $0[id] = nil }
  }

  // MARK: Checking tokens

  /// Who holds a token; throws 401 without saying what was wrong with it, but for an expired one.
  package func principal(bearer token: String) async throws(APIStatus) -> Principal {
    let parts = token.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard token.utf8.count <= 256, parts.count == 3 || (parts.count == 4 && parts[0] == "apus1"),
      let secret = parts.last, let id = parts.dropLast().last, let record = try await record(id),
      Self.equal(record.secretHash, Self.hash(secret)), Self.head(of: record.kind) == parts[0]
    else { throw .unauthorized("the token is not known here") }
    if let expires = record.expires, expires <= now() {
      throw .unauthorized("the token expired at \(expires.wholeSeconds); make a new one with: apus token create")
    }
    switch record.kind {
    case .admin: return .admin
    case .gateway: return .gateway(record.name)
    case .join:
      guard let role = MemberRole(rawValue: record.name) else { throw .unauthorized("the token is not known here") }
      return .joiner(id, role)
    }
  }

  private func record(_ id: String) async throws(APIStatus) -> Record? {
    guard !id.isEmpty, id.utf8.allSatisfy({ ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) }) else { return nil }
    if let known = cache.withLock({ $0[id] }) { return known }
    do {
      guard let object = try await store.get(Self.prefix + id) else { return nil }
      let record = try JSONDecoder().decode(Record.self, from: Data(object.value))
      cache.withLock { cache in
        if cache.count >= Self.cachedMax { cache.removeAll() }
        cache[id] = record
      }
      return record
    } catch {
      throw .internalError("the token cannot be checked: \(error)")
    }
  }

  private static func head(of kind: Kind) -> String { kind == .join ? "apus1" : "apus-\(kind.rawValue)" }

  private static func random(bytes count: Int) -> String {
    (0..<count).map { _ in
      let byte = UInt8.random(in: 0...255)
      return (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
  }

  private static func hash(_ secret: String) -> String {
    Base64URL.text(SHA256.hash(data: Array(secret.utf8)))
  }

  /// Compares in a time that does not depend on where the texts differ.
  private static func equal(_ left: String, _ right: String) -> Bool {
    let (a, b) = (Array(left.utf8), Array(right.utf8))
    guard a.count == b.count else { return false }
    return zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }
}
