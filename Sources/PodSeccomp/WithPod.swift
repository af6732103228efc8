public import Logging
public import PodCore

/// Makes a pod with the default backend, gives it to a function, and ends it afterwards, whatever happens.
///
/// It is `withPod(_:backend:interposers:logger:body:)` with ``SeccompBackend``, which traces where the machine lacks what it
/// needs.
///
/// - Parameters:
///   - configuration: What is asked of the pod.
///   - interposers: Rules of the embedder for some calls.
///   - logger: Where the library logs.
///   - body: What is done with the pod. When it returns or throws, everything in the pod is killed.
/// - Returns: What `body` returns.
/// - Throws: What `body` throws; ``PodError`` when no pod can be made; `CancellationError`.
public nonisolated(nonsending) func withPod<Result: ~Copyable>(
  _ configuration: PodConfiguration = PodConfiguration(),
  interposers: [any Interposer] = [],
  logger: Logger = .current,
  body: nonisolated(nonsending) (Pod) async throws -> Result
) async throws -> Result {
  try await withPod(
    configuration, backend: .seccomp, interposers: interposers, logger: logger, body: body)
}
