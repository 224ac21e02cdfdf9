import ClusterAPI
import ClusterModel
package import Crypto
import FoundationEssentials
import HTTPService

/// Seals the values of secrets: AES-GCM with a fresh nonce, bound to namespace, name, key and uid.
///
/// A stored secret has `sealed` (key → base64 of nonce, ciphertext, tag) and `lengths`; never `data`.
package struct SecretVault: Sendable {
  /// Bytes of all values of one secret.
  static let valuesMax = 786_432

  private let key: SymmetricKey

  /// A vault of a 256-bit key.
  package init(key: SymmetricKey) { self.key = key }

  /// Opens the vault's key file, or makes one (0600) when there is none.
  package static func open(keyFile: String) throws -> SecretVault {
    if let data = FileManager.default.contents(atPath: keyFile) {
      guard data.count == 32 else {
        throw VaultError(
          "\(keyFile) has \(data.count) bytes instead of 32; restore it from a backup: without it no secret can be read"
        )
      }
      return SecretVault(key: SymmetricKey(data: data))
    }
    let key = SymmetricKey(size: .bits256)
    try PrivateFile.write(key.withUnsafeBytes { Array($0) }, to: keyFile)
    return SecretVault(key: key)
  }

  private static func bound(_ metadata: JSONValue?, _ key: String) -> Data {
    let namespace = metadata?["namespace"]?.stringValue ?? ""
    let name = metadata?["name"]?.stringValue ?? ""
    let uid = metadata?["uid"]?.stringValue ?? ""
    return Data("\(namespace)/\(name)/\(key)/\(uid)".utf8)
  }

  /// A secret as it is stored, from one as clients send it (`data` in base64, `stringData` as text).
  func sealed(_ secret: JSONValue) throws(APIStatus) -> JSONValue {
    var stored = secret
    var values: [String: Data] = [:]
    for (key, value) in secret["data"]?.objectValue ?? [:] {
      values[key] = Data(base64Encoded: value.stringValue ?? "") ?? Data()
    }
    for (key, value) in secret["stringData"]?.objectValue ?? [:] { values[key] = Data((value.stringValue ?? "").utf8) }
    guard values.values.reduce(0, { $0 + $1.count }) <= Self.valuesMax else {
      throw .tooLarge("the secret's values are larger than \(Self.valuesMax) bytes")
    }
    var sealed = secret["sealed"]?.objectValue ?? [:]
    var lengths = secret["lengths"]?.objectValue ?? [:]
    for (key, value) in values {
      do {
        let box = try AES.GCM.seal(value, using: self.key, authenticating: Self.bound(secret["metadata"], key))
        sealed[key] = .string(box.combined?.base64EncodedString() ?? "")
        lengths[key] = .int(Int64(value.count))
      } catch {
        throw .internalError("the secret could not be sealed")
      }
    }
    stored["metadata"] = Self.withoutValues(secret["metadata"])
    stored["data"] = nil
    stored["stringData"] = nil
    stored["sealed"] = .object(sealed)
    stored["lengths"] = .object(lengths)
    return stored
  }

  /// A secret with a merge patch applied: a key whose value is null is taken off the shown lengths, and so goes.
  static func patched(_ current: JSONValue, with patch: JSONValue) -> JSONValue {
    var next = current.merging(patch: patch)
    var lengths = current["lengths"]?.objectValue ?? [:]
    for member in ["data", "stringData"] {
      for (key, value) in patch[member]?.objectValue ?? [:] where value == .null { lengths[key] = nil }
    }
    if patch["lengths"] == nil { next["lengths"] = .object(lengths) }
    return next
  }

  /// A changed secret as it is stored: keys that come with values are sealed anew; of the others those stay that the
  /// change still shows (`lengths`), or all when it speaks of no keys at all.
  func merged(_ change: JSONValue, into current: JSONValue) throws(APIStatus) -> JSONValue {
    var next = change
    let shown = current["lengths"]?.objectValue ?? [:]
    var kept = Set(shown.keys)
    if let named = change["lengths"]?.objectValue {
      for (key, length) in named where shown[key] != length {
        throw APIStatus(
          code: 422, reason: "Invalid",
          message: "Secret is invalid: lengths.\(key): lengths are shown, not set; send the value in stringData or data"
        )
      }
      kept = Set(named.keys)
    } else if change["data"] != nil || change["stringData"] != nil {
      kept = []
    }
    next["metadata"] = (change["metadata"] ?? .object([:]))
    if var metadata = next["metadata"] {
      for fixed in ["name", "namespace", "uid"] { metadata[fixed] = current["metadata"]?[fixed] }
      next["metadata"] = metadata
    }
    next["sealed"] = .object((current["sealed"]?.objectValue ?? [:]).filter { kept.contains($0.key) })
    next["lengths"] = .object(shown.filter { kept.contains($0.key) })
    return try sealed(next)
  }

  /// The values of a stored secret.
  func opened(_ stored: JSONValue) throws(APIStatus) -> [String: [UInt8]] {
    var values: [String: [UInt8]] = [:]
    for (key, text) in stored["sealed"]?.objectValue ?? [:] {
      do {
        let box = try AES.GCM.SealedBox(combined: Data(base64Encoded: text.stringValue ?? "") ?? Data())
        values[key] = Array(try AES.GCM.open(box, using: self.key, authenticating: Self.bound(stored["metadata"], key)))
      } catch {
        throw .internalError("a value of the secret cannot be opened with this cluster's key; was the data moved?")
      }
    }
    return values
  }

  /// A secret as clients may read it: key names and lengths, no values.
  static func redacted(_ stored: JSONValue) -> JSONValue {
    var shown = stored
    shown["sealed"] = nil
    shown["metadata"] = withoutValues(stored["metadata"])
    return shown
  }

  /// Where `kubectl apply` notes the whole manifest it was given, to know later what was taken out of it.
  private static let lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

  /// A secret's metadata, where what kubectl notes of the manifest has the keys of the values, which is what it compares, and
  /// the values no more. A note that cannot be read goes.
  private static func withoutValues(_ metadata: JSONValue?) -> JSONValue? {
    guard var metadata, var annotations = metadata["annotations"],
      let note = annotations[lastApplied]?.stringValue
    else { return metadata }
    var manifest = try? JSONValue(bytes: Array(note.utf8))
    for member in ["data", "stringData"] {
      guard let values = manifest?[member]?.objectValue else {
        manifest?[member] = nil
        continue
      }
      manifest?[member] = .object(values.mapValues { _ in .string("") })
    }
    annotations[lastApplied] = manifest.flatMap { $0.objectValue == nil ? nil : $0 }
      .map { .string(String(decoding: $0.encoded(), as: UTF8.self)) }
    metadata["annotations"] = annotations
    return metadata
  }
}

/// A vault that cannot be opened.
package struct VaultError: Error, CustomStringConvertible {
  /// What is wrong and what to do.
  package let description: String
  init(_ description: String) { self.description = description }
}
