// What the bed's own pods run: no dependency, so no go.sum.
module testbed/small

go 1.26.0
