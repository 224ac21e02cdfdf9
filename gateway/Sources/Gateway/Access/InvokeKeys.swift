import ClusterAPI
import ClusterModel
import Crypto

/// The tokens that may call functions, as the control plane told them last; shared by all loops and never changed.
final class InvokeKeys: Sendable {
  /// What a token is worth for a function.
  enum Verdict: Equatable {
    /// It may call it; the id is no secret.
    case granted(id: UInt64)
    /// It is none of ours.
    case unknown
    /// It was one.
    case expired(Timestamp)
    /// It is one, for other functions.
    case elsewhere(InvokeScope)
  }

  private struct Key {
    let hash: [UInt8]
    let scope: InvokeScope
    let expires: Timestamp?
  }

  /// Bytes of a token at most.
  private static let tokenBytes = 256

  private let keys: [UInt64: Key]

  init(_ credentials: [InvokeCredential]) {
    var keys: [UInt64: Key] = [:]
    for credential in credentials {
      guard let id = credential.id.utf8.withContiguousStorageIfAvailable({ Self.id(UnsafeRawBufferPointer($0)) }) ?? nil
      else { continue }
      keys[id] = Key(hash: credential.hash, scope: credential.scope, expires: credential.expires)
    }
    self.keys = keys
  }

  /// Judges a token (`apus-invoke.ID.SECRET`, or `apus-admin.…`) for a function.
  func verdict(_ token: UnsafeRawBufferPointer, for route: FunctionRoute, at time: Timestamp) -> Verdict {
    let dot = UInt8(ascii: ".")
    guard token.count <= Self.tokenBytes, let first = token.firstIndex(of: dot),
      let second = token[(first + 1)...].firstIndex(of: dot),
      ByteScan.equals(.init(rebasing: token[..<first]), "apus-invoke")
        || ByteScan.equals(.init(rebasing: token[..<first]), "apus-admin"),
      let id = Self.id(.init(rebasing: token[(first + 1)..<second])), let key = keys[id],
      Self.matches(.init(rebasing: token[(second + 1)...]), key.hash)
    else { return .unknown }
    if let expires = key.expires, expires <= time { return .expired(expires) }
    guard key.scope.covers(namespace: route.namespace, function: route.function) else { return .elsewhere(key.scope) }
    return .granted(id: id)
  }

  /// Compares in a time that does not depend on where the hashes differ.
  private static func matches(_ secret: UnsafeRawBufferPointer, _ hash: [UInt8]) -> Bool {
    guard hash.count == SHA256.byteCount else { return false }
    var hasher = SHA256()
    hasher.update(bufferPointer: secret)
    return hasher.finalize().withUnsafeBytes { digest in
      var difference: UInt8 = 0
      for index in 0..<SHA256.byteCount { difference |= digest[index] ^ hash[index] }
      return difference == 0
    }
  }

  /// Sixteen lower-case hex digits as a number.
  private static func id(_ text: UnsafeRawBufferPointer) -> UInt64? {
    guard text.count == 16 else { return nil }
    var id: UInt64 = 0
    for byte in text {
      switch byte {
      case 48...57: id = id << 4 | UInt64(byte - 48)
      case 97...102: id = id << 4 | UInt64(byte - 87)
      default: return nil
      }
    }
    return id
  }
}
