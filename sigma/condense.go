package sigma

import (
	"cmp"
	"math"
	"slices"
)

// condense tells points of one 64th of the window together, so that they take bounded room. Counts
// and sums stay; when each part of them happened is known to a 64th of the timespan.
func (p *part[T]) condense(points []point) []point {
	width := max(p.span/buckets, 1)
	switch p.def.Type {
	case ValuePercentile:
		for len(points) > maxPoints/2 {
			before := len(points)
			if points = halve(points, width); len(points) == before {
				return points
			}
		}
		return points
	case ValueCount, Temporal:
		return lastOfEach(points, width)
	}
	out := points[:0]
	for _, pt := range points {
		if n := len(out); n > 0 && out[n-1].at/width == pt.at/width {
			out[n-1].count += pt.count
			sum := math.Float64frombits(out[n-1].value) + math.Float64frombits(pt.value)
			out[n-1].value = math.Float64bits(sum)
			continue
		}
		out = append(out, pt)
	}
	return out
}

// lastOfEach drops the repeats of a value within one bucket.
func lastOfEach(points []point, width int64) []point {
	seen := map[[2]uint64]bool{}
	return slices.DeleteFunc(points, func(pt point) bool {
		k := [2]uint64{uint64(pt.at / width), pt.value}
		again := seen[k]
		seen[k] = true
		return again
	})
}

// halve leaves one of two neighbouring values of a bucket, with the weight of both: in turns the
// smaller and the greater, so that percentiles stay.
func halve(points []point, width int64) []point {
	out := points[:0]
	for from := 0; from < len(points); {
		to := from
		for to < len(points) && points[to].at/width == points[from].at/width {
			to++
		}
		bucket := slices.Clone(points[from:to])
		from = to
		if len(bucket) < 4 {
			out = append(out, bucket...)
			continue
		}
		first := bucket[0].at
		slices.SortStableFunc(bucket, byValue)
		for i := 0; i < len(bucket); i += 2 {
			pt := bucket[i]
			if i+1 < len(bucket) {
				other := bucket[i+1]
				if i/2%2 == 1 {
					pt.value = other.value
				}
				pt.count += other.count
			}
			pt.at = first
			out = append(out, pt)
		}
	}
	return out
}

func byValue(a, b point) int {
	return cmp.Compare(math.Float64frombits(a.value), math.Float64frombits(b.value))
}

// percentile returns the value below which so many percent of the points are, interpolated between
// neighbours.
func percentile(points []point, percent float64) float64 {
	sorted := slices.Clone(points)
	slices.SortStableFunc(sorted, byValue)
	total := uint64(0)
	for _, pt := range sorted {
		total += pt.count
	}
	rank := percent / 100 * float64(total-1)
	below := math.Floor(rank)
	lo, hi := nth(sorted, uint64(below)), nth(sorted, uint64(math.Ceil(rank)))
	return lo + (hi-lo)*(rank-below)
}

// nth returns the value of the event number n, from 0.
func nth(sorted []point, n uint64) float64 {
	for _, pt := range sorted {
		if n < pt.count {
			return math.Float64frombits(pt.value)
		}
		n -= pt.count
	}
	return math.Float64frombits(sorted[len(sorted)-1].value)
}
