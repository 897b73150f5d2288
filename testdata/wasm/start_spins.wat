;; The start section never returns.
(module
  (memory (export "memory") 1)
  (func (export "chaperone_init") (param i32) (result i32) (i32.const 1024))
  (func $start (loop $again (br $again)))
  (start $start)
  (func (export "chaperone_score") (param i32) (result i32) (i32.const 0)))
