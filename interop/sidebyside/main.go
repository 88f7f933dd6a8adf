// Command sidebyside does the same work with our library and with etcd's, turn by
// turn in one process, and prints what each took.
//
//	go run ./sidebyside [-rounds 21] [-time 20ms] [-run substring]
//
// A ratio below 1 means that ours takes less. Each round measures both, one right after
// the other, for long enough that the garbage collector's part is in it; of the rounds,
// the medians are printed, and the median of their ratios. A row that misses its limit by
// more than noise is marked, and then the command fails.
package main

import (
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	ours "example.com/raftexample/interop/sidebyside/ours"
	theirs "example.com/raftexample/interop/sidebyside/theirs"
)

//go:generate go run swap.go

// limit is the most that ours may take, relative to etcd's, but for noise.
type limit struct{ time, allocs float64 }

// limits are those of each kind of row; overall are those of the geometric mean.
var (
	limits = map[ours.Kind]limit{
		ours.Consensus: {1, 1},
		ours.Encode:    {1.1, 1},
		ours.Decode:    {1, 1},
		ours.DecodeApp: {0.8, 0.1},
	}
	overall = limit{0.7, 0.5}
)

// cost is what one operation took.
type cost struct {
	nanos  float64
	allocs float64
	bytes  float64
}

const (
	defaultRounds = 21
	defaultTime   = 20 * time.Millisecond
)

func main() {
	testing.Init()
	rounds := flag.Int("rounds", defaultRounds, "how often each row is measured")
	duration := flag.Duration("time", defaultTime, "how long each measurement takes")
	filter := flag.String("run", "", "only rows whose name contains this")
	flag.Parse()
	if *rounds < 1 {
		fmt.Fprintln(os.Stderr, "-rounds: want 1 or more")
		os.Exit(2)
	}
	if err := flag.Set("test.benchtime", duration.String()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if !compare(os.Stdout, *rounds, *filter) {
		os.Exit(1)
	}
}

// What a row may be above its limits before it is marked. Half a dozen rows are little but
// the allocation of the same bytes: measured twice, with the same library, their times differ
// by noise. And what the runtime allocates now and then, and a pool refills, is counted too.
const (
	noise    = 0.03
	rounding = 0.02
)

// compare measures and prints all rows whose name contains filter, and reports
// whether all limits were kept.
func compare(out io.Writer, rounds int, filter string) bool {
	fmt.Fprintf(out, "%-34s %10s %10s %6s  %8s %8s %6s  %9s %9s\n",
		"", "ours ns", "etcd ns", "ratio", "ours al.", "etcd al.", "ratio", "ours B", "etcd B")
	kept := true
	var logTime, logAllocs float64
	var n int
	theirRows := theirs.Rows()
	for i, row := range ours.Rows() {
		if !strings.Contains(row.Name, filter) {
			continue
		}
		our, their, timeRatio := measure(rounds, row.Run, theirRows[i].Run)
		allocRatio := ratio(our.allocs, their.allocs)
		mark := ""
		if l := limits[row.Kind]; timeRatio > l.time+noise || allocRatio > l.allocs+rounding {
			mark, kept = fmt.Sprintf("  over %.1f, %.1f", l.time, l.allocs), false
		}
		fmt.Fprintf(out, "%-34s %10.0f %10.0f %6.2f  %8.1f %8.1f %6.2f  %9.0f %9.0f%s\n", row.Name,
			our.nanos, their.nanos, timeRatio, our.allocs, their.allocs, allocRatio, our.bytes, their.bytes, mark)
		logTime += math.Log(timeRatio)
		logAllocs += math.Log(allocRatio)
		n++
	}
	timeMean, allocMean := math.Exp(logTime/float64(n)), math.Exp(logAllocs/float64(n))
	fmt.Fprintf(out, "%-34s %10s %10s %6.2f  %8s %8s %6.2f\n", "geometric mean", "", "", timeMean, "", "", allocMean)
	return kept && timeMean <= overall.time && allocMean <= overall.allocs
}

// ratio is that of two counts of allocations. Where one of them is 0 it is taken
// for 1/16, so that removing the last allocation counts for much but not for all.
func ratio(our, their float64) float64 {
	if our == 0 && their == 0 {
		return 1
	}
	return max(our, 1.0/16) / max(their, 1.0/16)
}

// measure runs both in turns and returns the medians, and that of the ratios of their
// times.
func measure(rounds int, ours, theirs func(*testing.B)) (our, their cost, timeRatio float64) {
	var ourCosts, theirCosts []cost
	var ratios []float64
	for range rounds {
		o, t := costOf(testing.Benchmark(ours)), costOf(testing.Benchmark(theirs))
		ourCosts, theirCosts = append(ourCosts, o), append(theirCosts, t)
		ratios = append(ratios, o.nanos/t.nanos)
	}
	return medians(ourCosts), medians(theirCosts), median(ratios)
}

func costOf(r testing.BenchmarkResult) cost {
	if r.N == 0 {
		panic("a benchmark failed")
	}
	n := float64(r.N)
	return cost{nanos: float64(r.T.Nanoseconds()) / n, allocs: float64(r.MemAllocs) / n, bytes: float64(r.MemBytes) / n}
}

func medians(costs []cost) cost {
	var nanos, allocs, bytes []float64
	for _, c := range costs {
		nanos, allocs, bytes = append(nanos, c.nanos), append(allocs, c.allocs), append(bytes, c.bytes)
	}
	return cost{nanos: median(nanos), allocs: median(allocs), bytes: median(bytes)}
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
