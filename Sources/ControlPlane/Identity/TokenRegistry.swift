package import ClusterAPI
package import ClusterModel
internal import Crypto
internal import Foundation
package import HTTPService
package import StateStore
internal import Synchronization

/// The bearer tokens of the cluster: only hashes of them are stored.
///
/// A token's text is `apus-admin.ID.SECRET`, `apus-gateway.ID.SECRET`, `apus-invoke.ID.SECRET`, or
/// `apus1.CA-HASH.ID.SECRET` for joining. Those of admins and for calls are told to gateways, as hashes.
package final class TokenRegistry: Authenticator {
  /// Where tokens are kept in the store.
  package static let prefix = "identity/tokens/"
  /// The longest life of a join token, milliseconds: 30 days.
  package static let joinLifeMaximum: Int64 = 30 * 86_400_000
  /// Tokens whose records are kept in memory.
  static let cachedMax = 1024

  /// What a token is for.
  package enum Kind: String, Codable, Sendable {
    case admin, gateway, join, invoke
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
  private let callers = Mutex(Callers())
  /// The platform's own token for calls, good until this process ends; asynchronous calls are run with it.
  package let platformToken: String

  /// Takes the tokens that may call functions; a lower version than one taken before is out of date.
  package typealias CredentialSink = @Sendable (_ credentials: [InvokeCredential], _ version: Int) async -> Void

  /// The tokens that may call functions.
  private struct Callers {
    var known: [String: InvokeCredential] = [:]
    var version = 0
    var sink: CredentialSink?

    mutating func dropExpired(at time: Timestamp) {
      known = known.filter { $0.value.expires.map { $0 > time } ?? true }
    }
  }

  /// A registry in a store; `authorityHash` goes into join tokens.
  package init(
    store: any StateStore, authorityHash: String, now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }
  ) {
    self.store = store
    self.authorityHash = authorityHash
    self.now = now
    let id = Self.random(bytes: 8)
    let secret = Self.random(bytes: 32)
    platformToken = "apus-invoke.\(id).\(secret)"
    let own = InvokeCredential(id: id, hash: Self.digest(secret), scope: .everything)
    callers.withLock { $0.known[id] = own }
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

  /// A token with which functions are called, its life nil for ever; throws 400 for a life that is not 1 s … 10 y and
  /// when there are `Limits.invokeTokens` already. Gateways know it when this returns, or a moment after.
  package func invoke(_ scope: InvokeScope, life: TimeSpan?) async throws -> String {
    if let life, !(1000...Limits.invokeTokenLife).contains(life.milliseconds) {
      throw APIStatus.badRequest("a token for calls that lives \(life) cannot be made; use 1s to 3650d, or none")
    }
    let time = now()
    let count = callers.withLock { callers in
      callers.dropExpired(at: time)
      return callers.known.count
    }
    guard count <= Limits.invokeTokens else {
      throw APIStatus.badRequest(
        "there are \(Limits.invokeTokens) tokens for calls already; apus token revoke ID removes one")
    }
    return try await create(.invoke, name: scope.description, life: life)
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
    if let credential = Self.credential(id, record) {
      callers.withLock { $0.known[id] = credential }
      await tellCallers()
    }
    return kind == .join ? "apus1.\(authorityHash).\(id).\(secret)" : "apus-\(kind.rawValue).\(id).\(secret)"
  }

  /// Forgets a token by its id; it is refused from now on, by gateways as soon as they hear of it.
  package func revoke(id: String) async throws {
    _ = try await store.commit([], [.delete(Self.prefix + id)])
    cache.withLock { $0[id] = nil }
    if callers.withLock({ $0.known.removeValue(forKey: id) }) != nil { await tellCallers() }
  }

  /// Revokes a token that somebody made by hand; throws 404 when there is none and 403 for the platform's own.
  package func revokeMade(id: String) async throws {
    guard let record = try await record(id) else {
      throw APIStatus(code: 404, reason: "NotFound", message: "there is no token \"\(id)\"; apus token list shows all")
    }
    guard record.kind == .invoke || record.kind == .join else {
      throw APIStatus.forbidden("token \(id) is the cluster's own (\(record.kind.rawValue)) and stays")
    }
    try await revoke(id: id)
  }

  /// All tokens that are kept, oldest first; expired ones are among them until the store forgets them.
  package func all() async throws -> [TokenSummary] {
    try await records().map { id, record in
      TokenSummary(
        id: id, role: record.kind.rawValue, scope: record.name, created: record.created, expires: record.expires)
    }.sorted { ($0.created, $0.id) < ($1.created, $1.id) }
  }

  private func records() async throws -> [(String, Record)] {
    try await store.listAll(prefix: Self.prefix).items.compactMap { item in
      guard let record = try? JSONDecoder().decode(Record.self, from: Data(item.value)) else { return nil }
      return (String(item.key.dropFirst(Self.prefix.count)), record)
    }
  }

  // MARK: Telling gateways

  /// From now on `sink` hears of the tokens that may call functions: now, and whenever one comes or goes.
  package func tell(_ sink: @escaping CredentialSink) async throws {
    let stored = try await records().compactMap { Self.credential($0, $1) }
    callers.withLock { callers in
      for credential in stored { callers.known[credential.id] = credential }
      callers.sink = sink
    }
    await tellCallers()
  }

  private func tellCallers() async {
    let time = now()
    let (sink, credentials, version) = callers.withLock { callers in
      callers.dropExpired(at: time)
      callers.version += 1
      return (callers.sink, callers.known.values.sorted { $0.id < $1.id }, callers.version)
    }
    await sink?(credentials, version)
  }

  /// What gateways need to know of a token; nil for one that calls nothing.
  private static func credential(_ id: String, _ record: Record) -> InvokeCredential? {
    let scope: InvokeScope?
    switch record.kind {
    case .admin: scope = .everything
    case .invoke: scope = InvokeScope(record.name)
    case .gateway, .join: scope = nil
    }
    guard let scope, let hash = Base64URL.bytes(record.secretHash) else { return nil }
    return InvokeCredential(id: id, hash: hash, scope: scope, expires: record.expires)
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
    case .invoke: throw .unauthorized("the token is for calling functions, not for this API")
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
    (0..<count).map { _ in UInt8.random(in: 0...255) }.hex
  }

  private static func digest(_ secret: String) -> [UInt8] { Array(SHA256.hash(data: Array(secret.utf8))) }

  private static func hash(_ secret: String) -> String { Base64URL.text(digest(secret)) }

  /// Compares in a time that does not depend on where the texts differ.
  private static func equal(_ left: String, _ right: String) -> Bool {
    let (a, b) = (Array(left.utf8), Array(right.utf8))
    guard a.count == b.count else { return false }
    return zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }
}
