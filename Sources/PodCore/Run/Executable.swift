public import SystemPackage

extension Pod {
  /// A program to run: by name or by path.
  public struct Executable: Sendable, Hashable, CustomStringConvertible {
    enum Storage: Hashable {
      case name(String)
      case path(FilePath)
    }

    let storage: Storage

    /// A program that is searched in the directories of the `PATH` that the *program* gets, in order.
    ///
    /// Empty and relative entries of `PATH` are left out, so the working directory is never searched. Without a `PATH`,
    /// `/bin` and `/usr/bin` are searched. A name with a slash is a path.
    ///
    /// Source: execvp(3).
    public static func name(_ executableName: String) -> Self {
      Self(
        storage: executableName.utf8.contains(slash)
          ? .path(FilePath(executableName)) : .name(executableName))
    }

    /// A program at a path; a relative one is looked up from the program's working directory.
    public static func path(_ filePath: FilePath) -> Self { Self(storage: .path(filePath)) }

    /// The name or the path.
    public var description: String {
      switch storage {
      case .name(let name): name
      case .path(let path): path.string
      }
    }

    /// The paths to try in order, for a program that gets this environment.
    ///
    /// - Parameter environment: "KEY=value" each; the first `PATH` counts.
    /// - Returns: Absolute paths for a name, the path itself for a path; none when nothing of `PATH` is usable.
    func candidates(in environment: [[UInt8]]) -> [FilePath] {
      switch storage {
      case .path(let path): return path.isEmpty ? [] : [path]
      case .name(let name):
        if name.isEmpty { return [] }
        var seen: Set<[UInt8]> = []
        return Self.searchPath(in: environment)
          .split(separator: UInt8(ascii: ":"))
          .filter { $0.first == Self.slash && seen.insert(Array($0)).inserted }
          .map { FilePath(bytes: $0).appending(name) }
      }
    }

    private static let slash = UInt8(ascii: "/")

    private static func searchPath(in environment: [[UInt8]]) -> [UInt8] {
      let key = Array("PATH=".utf8)
      guard let entry = environment.first(where: { $0.starts(with: key) })
      else { return Array("/bin:/usr/bin".utf8) }
      return Array(entry.dropFirst(key.count))
    }
  }
}

extension FilePath {
  /// A path of bytes, up to the first NUL.
  init(bytes: some Sequence<UInt8>) {
    #if os(Windows)
      self.init(String(decoding: Array(bytes), as: UTF8.self))
    #else
      var characters = bytes.map { CChar(bitPattern: $0) }
      characters.append(0)
      self = characters.withUnsafeBufferPointer { buffer in
        buffer.baseAddress.map { FilePath(platformString: $0) } ?? FilePath()
      }
    #endif
  }
}
