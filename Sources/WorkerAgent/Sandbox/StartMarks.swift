/// Moments of a start, nanoseconds of the monotonic clock.
package struct StartMarks: Hashable, Sendable {
  /// Its sandbox stood; long ago for a pod that was made ahead.
  package var stood: Int64?
  /// Its command began, to be executed or to be told what it is; nothing in the pod has a privilege any more.
  package var began: Int64?

  /// Some of them.
  package init(stood: Int64? = nil, began: Int64? = nil) {
    self.stood = stood
    self.began = began
  }
}
