import NIOSSL

/// Certificates that only tests use: a cluster's authority with a worker's and a gateway's certificate, and a
/// stranger's with an intruder's. Valid for a hundred years.
enum TestCertificates {
  /// The cluster's authority.
  static let cluster = """
    -----BEGIN CERTIFICATE-----
    MIIBezCCASGgAwIBAgIUQhl9Lv8I3XCfWCqyiJGAcgX2JtEwCgYIKoZIzj0EAwIw
    EjEQMA4GA1UEAwwHY2x1c3RlcjAgFw0yNjExMjEwNTI1NDZaGA8yMTI2MTAyODA1
    MjU0NlowEjEQMA4GA1UEAwwHY2x1c3RlcjBZMBMGByqGSM49AgEGCCqGSM49AwEH
    A0IABHLbTQF57aX8aIO6ftO4p2ql8R7+PpJ5WAgpgFBN5uVX4njlJzaaSDm2j+OP
    b0OaEuXBIgLaDPgTd3FJ+uPDeB2jUzBRMB0GA1UdDgQWBBQS3krRvUQGn0IbXMwW
    sqI0HBcKNjAfBgNVHSMEGDAWgBQS3krRvUQGn0IbXMwWsqI0HBcKNjAPBgNVHRMB
    Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDDGZrAwsqG5oOwWSux0vHloj5T
    nQbfP8ifC4HnbT7thAIgWJX/TBqPujPAqEboG+y05qbVr0egeBhmxL2A7ARnpW0=
    -----END CERTIFICATE-----
    """
  /// The worker's.
  static let worker = """
    -----BEGIN CERTIFICATE-----
    MIIBHzCBxgIUU/NQmS4oNOHlCeE6F7EGNwx8Nq8wCgYIKoZIzj0EAwIwEjEQMA4G
    A1UEAwwHY2x1c3RlcjAgFw0yNjExMjEwNTI1NDZaGA8yMTI2MTAyODA1MjU0Nlow
    ETEPMA0GA1UEAwwGd29ya2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEIokL
    wLA2l2m31wpd1fdgai7Ccq7RehVwba4C1K3jzyoPybEaMbWa9D7xlCrFgWzb8OLt
    k68fy1LMYfD9tBRTHDAKBggqhkjOPQQDAgNIADBFAiB4+/ddByXUEBl4R/AHdBKL
    gkJr9HMC1J478dwUnGqtHwIhAIG9KF9bXuIn5yO4FMs+XOP0lPOWo+ZX/JwOCAOs
    /gSC
    -----END CERTIFICATE-----
    """
  /// Its key.
  static let workerKey = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgD745yItw7YztBIh7
    U73Fq6N3iKc9xFufbidCrV7erFmhRANCAAQiiQvAsDaXabfXCl3V92BqLsJyrtF6
    FXBtrgLUrePPKg/JsRoxtZr0PvGUKsWBbNvw4u2Trx/LUsxh8P20FFMc
    -----END PRIVATE KEY-----
    """
  /// A gateway's.
  static let gateway = """
    -----BEGIN CERTIFICATE-----
    MIIBIDCBxwIUU/NQmS4oNOHlCeE6F7EGNwx8NrAwCgYIKoZIzj0EAwIwEjEQMA4G
    A1UEAwwHY2x1c3RlcjAgFw0yNjExMjEwNTI1NDZaGA8yMTI2MTAyODA1MjU0Nlow
    EjEQMA4GA1UEAwwHZ2F0ZXdheTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABEfN
    naf3GSTrEMKhJKn6th3zzPqNwYMfA/Z4JAiaF3o3xjN5p1vhWhAkOgSiCI7iHqSH
    c8xgoEUZR+OrlpSFPNAwCgYIKoZIzj0EAwIDSAAwRQIgJkk4hRXfBNp+YtT4M/E+
    IwM8yq93DvGgbHDjhlCyDpoCIQCjU3ndFqZBqrBEnShT5YeM0y1v3FbzSKpYSQ71
    LSy4Lw==
    -----END CERTIFICATE-----
    """
  /// Its key.
  static let gatewayKey = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9LtJ/5SDTz+Bwte7
    vSxpRNCorNVHcV20MXdHRbBsGJShRANCAARHzZ2n9xkk6xDCoSSp+rYd88z6jcGD
    HwP2eCQImhd6N8Yzeadb4VoQJDoEogiO4h6kh3PMYKBFGUfjq5aUhTzQ
    -----END PRIVATE KEY-----
    """
  /// One that another authority signed.
  static let intruder = """
    -----BEGIN CERTIFICATE-----
    MIIBITCByQIUSxHWFnJRAmGr6zSEm68cOLp4b68wCgYIKoZIzj0EAwIwEzERMA8G
    A1UEAwwIc3RyYW5nZXIwIBcNMjYxMTIxMDUyNTQ2WhgPMjEyNjEwMjgwNTI1NDZa
    MBMxETAPBgNVBAMMCGludHJ1ZGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
    AaqTlTwZOj8VvIKCUQNT6NbzOm3tylUepA1qCsyfD5c2b4MKMktQCLU5X+CYrY+o
    d9e2V5VdttqqZrAYQm76/zAKBggqhkjOPQQDAgNHADBEAiBA5T7SDPI0sgEZWJyb
    qr2DgAJNM+3bzBjJu218jskJVgIgPb1DC120dONJ6a7GF6vGitOmEYZrVezSIwoz
    QQalaXs=
    -----END CERTIFICATE-----
    """
  /// Its key.
  static let intruderKey = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3eccV/pBjZlMFpl2
    9cIcJTXw7rqXtg8J2bDXPyq9jzShRANCAAQBqpOVPBk6PxW8goJRA1Po1vM6be3K
    VR6kDWoKzJ8PlzZvgwoyS1AItTlf4Jitj6h317ZXlV222qpmsBhCbvr/
    -----END PRIVATE KEY-----
    """

  /// The worker's side: asks for a certificate of the cluster.
  static func server() throws -> NIOSSLContext {
    var configuration = TLSConfiguration.makeServerConfiguration(
      certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(worker.utf8)).map { .certificate($0) },
      privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(workerKey.utf8), format: .pem)))
    configuration.certificateVerification = .noHostnameVerification
    configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(cluster.utf8)))
    return try NIOSSLContext(configuration: configuration)
  }

  /// A client with a certificate, or without one.
  static func client(_ certificate: String?, _ key: String?) throws -> NIOSSLContext {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.certificateVerification = .noHostnameVerification
    configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(cluster.utf8)))
    if let certificate, let key {
      configuration.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8))
        .map { .certificate($0) }
      configuration.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem))
    }
    return try NIOSSLContext(configuration: configuration)
  }
}
