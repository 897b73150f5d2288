;; chaperone_init never returns.
(module
  (memory (export "memory") 1)
  (func (export "chaperone_init") (param i32) (result i32) (loop $again (br $again)) (i32.const 0))
  (func (export "chaperone_score") (param i32) (result i32) (i32.const 0)))
