import ArgumentParser

/// What the Python interpreters that pods are forked from have loaded.
struct ZygoteOptions: ParsableArguments {
  @Flag(
    help: ArgumentHelp(
      "Python pods begin with what our runner needs and no more: less memory a pod, slower imports of json, urllib, ssl."
    ))
  var leanZygotes = false

  /// The flags that hand these options on.
  var flags: [String] { leanZygotes ? ["--lean-zygotes"] : [] }
}
