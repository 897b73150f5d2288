;; Accepts a configuration of 2 bytes ({}), traps on one of 13, refuses every other with status 3 after saying why.
(module
  (import "chaperone" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "limit should be a number")
  (func (export "chaperone_init") (param i32) (result i32) (i32.const 1024))
  (func (export "chaperone_configure") (param $length i32) (result i32)
    (if (i32.eq (local.get $length) (i32.const 13)) (then unreachable))
    (if (result i32) (i32.and (i32.eq (local.get $length) (i32.const 2)) (i32.eq (i32.load16_u (i32.const 1024)) (i32.const 0x7d7b)))
      (then (i32.const 0))
      (else (call $log (i32.const 3) (i32.const 16) (i32.const 24)) (i32.const 3))))
  (func (export "chaperone_score") (param i32) (result i32) (i32.const 0)))
