import ClusterModel
import FoundationEssentials

/// Compiled modules in a Python package. A pod cannot keep what it compiles, so without them it compiles every module it
/// imports at every start: a tenth of a second for requests, a fifth for numpy.
enum PythonModules {
  /// Compiled files belong to the code beside them whatever its time is (PEP 552): a package has no times. What the
  /// owner's own interpreter left is taken away first, and no name of this machine gets in, so that equal folders give
  /// equal packages. A file that is no Python is left as it is. Older interpreters than 3.9 cannot do it, and do not.
  private static let script = """
    import compileall, os, py_compile, shutil, sys
    folder = sys.argv[1]
    for place, folders, _ in os.walk(folder):
        if "__pycache__" in folders:
            folders.remove("__pycache__")
            shutil.rmtree(os.path.join(place, "__pycache__"))
    try:
        compileall.compile_dir(
            folder, quiet=2, force=True, stripdir=folder, prependdir="/function",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except TypeError:
        pass
    """
  /// What a package takes in beside what it always does.
  static let takenBack = ["!__pycache__/", "!**/__pycache__/*.pyc"]

  /// Whether a function has modules of its own beside its handler, which is read and not imported, and its tests. A
  /// program of runtime lambda imports all.
  static func areImported(by source: FunctionFolder) -> Bool {
    let handler = source.manifest.at(path: "spec.handler")?.stringValue?.split(separator: ":").first.map(String.init)
    let files = (try? FileManager.default.subpathsOfDirectory(atPath: source.path)) ?? []
    return files.contains { file in
      guard file.hasSuffix(".py"), source.runtime == .lambda || file != handler else { return false }
      let name = file.split(separator: "/").last ?? ""
      return !name.hasSuffix("_test.py") && !name.hasPrefix("test_") && !file.hasPrefix("cases/")
    }
  }

  /// Compiles what is in a folder, by the interpreter that will run the function; without one nothing is compiled, and the
  /// function runs all the same.
  static func compile(_ folder: String, of name: String) async {
    // From the root: a module of the function may have the name of one that compiling needs.
    _ = try? await BuildStep(
      what: "compiling \(name) (python)", executable: "/usr/bin/python3", arguments: ["-c", script, folder],
      folder: "/",
      variables: ["PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"]
    ).run()
  }
}
