;; Imports chaperone.log with a wrong type.
(module
  (import "chaperone" "log" (func (param i64) (result i32)))
  (memory (export "memory") 1)
  (func (export "chaperone_init") (param i32) (result i32) (i32.const 1024))
  (func (export "chaperone_score") (param i32) (result i32) (i32.const 0)))
