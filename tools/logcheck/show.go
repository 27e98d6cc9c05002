package main

import (
	"context"
	"io"
)

func dump(ctx context.Context, args []string, out, errs io.Writer) error    { return nil }
func explain(ctx context.Context, args []string, out, errs io.Writer) error { return nil }
