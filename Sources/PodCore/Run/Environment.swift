#if canImport(Darwin)
  internal import Darwin
#elseif canImport(Glibc)
  @preconcurrency internal import Glibc
#elseif canImport(Musl)
  @preconcurrency internal import Musl
#endif

extension Pod {
  /// The environment variables of a program.
  ///
  /// Values of the host program that aren't UTF-8 are passed on as they are.
  public struct Environment: Sendable, Hashable, CustomStringConvertible {
    enum Storage: Hashable {
      case inherit([Key: String?])
      case custom([Key: String])
      case bytes([[UInt8]])
    }

    let storage: Storage

    /// The host program's environment as it is when the program starts.
    public static var inherit: Self { Self(storage: .inherit([:])) }

    /// This environment with some variables set, or unset where the value is nil.
    public func updating(_ newValue: [Key: String?]) -> Self {
      switch storage {
      case .inherit(let changes):
        return Self(storage: .inherit(changes.merging(newValue) { $1 }))
      case .custom(var values):
        for (key, value) in newValue { values[key] = value }
        return Self(storage: .custom(values))
      case .bytes(let rows):
        return Self(storage: .bytes(Self.merge(rows, newValue)))
      }
    }

    /// Exactly these variables.
    public static func custom(_ newValue: [Key: String]) -> Self {
      Self(storage: .custom(newValue))
    }

    /// Exactly these variables, as "KEY=value" in bytes, without a NUL at their end.
    public static func custom(_ newValue: [[UInt8]]) -> Self { Self(storage: .bytes(newValue)) }

    /// What is set, inherited or changed.
    public var description: String {
      switch storage {
      case .inherit(let changes):
        changes.isEmpty
          ? "inherit"
          : "inherit, updating "
            + changes.sorted { $0.key < $1.key }
            .map { "\($0.key)=\($0.value ?? "(unset)")" }.description
      case .custom, .bytes:
        variables(host: []).map { String(decoding: $0, as: UTF8.self) }.description
      }
    }

    /// The variables as a program gets them, "KEY=value" each.
    ///
    /// - Parameter host: The variables to inherit.
    /// - Returns: Inherited ones in their order, then new ones by key.
    func variables(host: @autoclosure () -> [[UInt8]]) -> [[UInt8]] {
      switch storage {
      case .inherit(let changes): Self.merge(host(), changes)
      case .custom(let values): Self.merge([], values.mapValues { $0 })
      case .bytes(let rows): rows
      }
    }

    private static func merge(_ rows: [[UInt8]], _ changes: [Key: String?]) -> [[UInt8]] {
      if changes.isEmpty { return rows }
      let keys = Set(changes.keys.map { Array($0.rawValue.utf8) })
      let kept = rows.filter { row in !keys.contains(Array(row.prefix { $0 != UInt8(ascii: "=") }))
      }
      return kept
        + changes.sorted { $0.key < $1.key }.compactMap { key, value in
          value.map { Array("\(key)=\($0)".utf8) }
        }
    }

    /// What is wrong with the variables, in words; nil when nothing is.
    ///
    /// Source: environ(7).
    var fault: String? {
      func fault(_ key: Key, _ value: String?) -> String? {
        if key.rawValue.isEmpty || key.rawValue.utf8.contains(UInt8(ascii: "=")) {
          return "an environment variable's name is \"\(key)\"; it must not be empty or contain '='"
        }
        let hasNul = key.rawValue.utf8.contains(0) || value?.utf8.contains(0) == true
        return hasNul ? "the environment variable \(key) contains a NUL" : nil
      }
      switch storage {
      case .inherit(let changes):
        return changes.sorted { $0.key < $1.key }.lazy.compactMap { fault($0.key, $0.value) }.first
      case .custom(let values):
        return values.sorted { $0.key < $1.key }.lazy.compactMap { fault($0.key, $0.value) }.first
      case .bytes(let rows):
        guard let row = rows.first(where: { $0.contains(0) || !$0.contains(UInt8(ascii: "=")) })
        else { return nil }
        return
          "the environment entry \"\(String(decoding: row, as: UTF8.self))\" must contain '=' and no NUL"
      }
    }

    /// The host program's environment, "KEY=value" each.
    ///
    /// A host that changes its own environment from another thread at the same time breaks this, as it breaks getenv(3).
    static func ofHost() -> [[UInt8]] {
      #if canImport(Darwin)
        return rows(_NSGetEnviron().pointee)
      #elseif canImport(Glibc) || canImport(Musl)
        return rows(environ)
      #else
        return []
      #endif
    }

    private static func rows(
      _ entries: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
    ) -> [[UInt8]] {
      guard var entry = entries else { return [] }
      var rows: [[UInt8]] = []
      while let text = entry.pointee {
        var row: [UInt8] = []
        var byte = text
        while byte.pointee != 0 {
          row.append(UInt8(bitPattern: byte.pointee))
          byte += 1
        }
        rows.append(row)
        entry += 1
      }
      return rows
    }

    /// The name of an environment variable.
    public struct Key: Sendable, Hashable, Comparable, Codable, RawRepresentable,
      ExpressibleByStringLiteral, CustomStringConvertible
    {
      /// The name.
      public let rawValue: String

      /// A name; it may not be empty or contain '=' or NUL, which `run` checks.
      public init(rawValue: String) { self.rawValue = rawValue }

      /// A name as a literal.
      public init(stringLiteral rawValue: String) { self.rawValue = rawValue }

      /// The name.
      public var description: String { rawValue }

      /// Orders names by their UTF-8.
      public static func < (left: Self, right: Self) -> Bool {
        left.rawValue.utf8.lexicographicallyPrecedes(right.rawValue.utf8)
      }
    }
  }
}
