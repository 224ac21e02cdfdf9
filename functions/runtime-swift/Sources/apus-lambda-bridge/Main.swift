import Glibc
import LambdaBridge

/// Runs a Lambda function in its pod (the contract: functions/README.md).
@main
enum Main {
  static func main() {
    do throws(Bridge.CannotStart) {
      exit(try Bridge.run())
    } catch {
      let bytes = Array((error.description + "\n").utf8)
      _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
      exit(1)
    }
  }
}
