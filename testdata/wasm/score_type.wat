;; chaperone_score takes two parameters, chaperone_save returns nothing.
(module
  (memory (export "memory") 1)
  (func (export "chaperone_init") (param i32) (result i32) (i32.const 1024))
  (func (export "chaperone_save"))
  (func (export "chaperone_score") (param i32 i32) (result i32) (i32.const 0)))
