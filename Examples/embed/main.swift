import PodCore
import PodSeccomp

try await withPod { pod in
  let shell = try await pod.run(
    .name("sh"), arguments: ["-c", "echo process $$, parent $PPID"],
    output: .string(limit: 1024))
  print(shell.terminationStatus, shell.standardOutput)
}
