// How many areas of a pod this program has in its memory.
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	maps, _ := os.ReadFile("/proc/self/maps")
	fmt.Println(strings.Count(string(maps), "/memfd:pod"))
}
