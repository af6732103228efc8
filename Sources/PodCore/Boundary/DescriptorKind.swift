/// What an open descriptor delivers, where a call's rows depend on it.
public enum DescriptorKind: String, Sendable, Hashable, CaseIterable {
  /// Signals that wait for the reader (signalfd).
  case signals

  /// What the printed table says of a row that is for such descriptors only.
  public var label: String {
    switch self {
    case .signals: "of a signal descriptor"
    }
  }
}
