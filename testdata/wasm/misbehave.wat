;; Does what the first request field says: the number in the br_table below. Its score is what the first column says,
;; whatever that is. With -1 (and so everything else that is not in the table) it behaves.
(module
  (import "chaperone" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (table 2 funcref)
  (global $arena i32 (i32.const 1024))
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 16) "misbehaving\nlevel=ERROR forged")

  (func (export "chaperone_init") (param i32) (result i32) (global.get $arena))

  (func $fork (param $depth i32) (result i32)
    (if (i32.eqz (local.get $depth)) (then (return (i32.const 1))))
    (i32.add (call $fork (i32.sub (local.get $depth) (i32.const 1))) (call $fork (i32.sub (local.get $depth) (i32.const 1)))))
  (func $forever (param i32) (result i32) (i32.add (call $forever (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func $even (param i32) (result i32) (call $odd (i32.add (local.get 0) (i32.const 1))))
  (func $odd (param i32) (result i32) (i32.mul (call $even (local.get 0)) (i32.const 3)))

  (func (export "chaperone_score") (param $rows i32) (result i32)
    (local $row i32)
    (block $behave (block $fill_outside (block $scribble (block $log_outside (block $log_huge (block $log (block $status (block $abstain
    (block $table_storm (block $memory_storm (block $mutual (block $recurse (block $exponential (block $spin
    (block $conversion (block $indirect (block $divide (block $outside (block $unreachable
      (br_table $unreachable $outside $divide $indirect $conversion $spin $exponential $recurse $mutual $memory_storm
        $table_storm $abstain $status $log $log_huge $log_outside $scribble $fill_outside $behave
        (i32.trunc_sat_f64_s
          (f64.load (i32.add (global.get $arena) (i32.load offset=20 (global.get $arena)))))))
      unreachable)                                                                                   ;; 0
      (drop (i32.load (i32.const -8))))                                                              ;; 1
      (drop (i32.div_u (i32.const 1) (i32.load offset=0 (i32.const 0)))))                            ;; 2
      (drop (call_indirect (param i32) (result i32) (i32.const 0) (i32.const 1))))                   ;; 3
      (drop (i32.trunc_f64_s (f64.const nan))))                                                      ;; 4
      (loop $again (br $again)))                                                                     ;; 5
      (drop (call $fork (i32.const 60))))                                                            ;; 6
      (drop (call $forever (i32.const 0))))                                                          ;; 7
      (drop (call $even (i32.const 0))))                                                             ;; 8
      (loop $again (drop (memory.grow (i32.const 1))) (br $again)))                                  ;; 9
      (loop $again (drop (table.grow 0 (ref.null func) (i32.const 1000000))) (br $again)))             ;; 10
      (return (i32.const 1)))                                                                        ;; 11
      (return (i32.const 7)))                                                                        ;; 12
      (loop $again (call $log (i32.const 3) (i32.const 16) (i32.const 30)) (br $again)))             ;; 13
      (call $log (i32.const 1) (i32.const 16) (i32.const -1)) (br $behave))                          ;; 14
      (call $log (i32.const 1) (i32.const -16) (i32.const 64)) (br $behave))                         ;; 15
      (memory.fill (i32.const 0) (i32.const 255) (i32.const 65536)) (return (i32.const 0)))          ;; 16
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 65537)))                                   ;; 17
    (loop $copy
      (f64.store
        (i32.add (i32.add (global.get $arena) (i32.load offset=24 (global.get $arena))) (i32.shl (local.get $row) (i32.const 3)))
        (f64.load (i32.add (i32.add (global.get $arena) (i32.load offset=16 (global.get $arena))) (i32.shl (local.get $row) (i32.const 3)))))
      (br_if $copy (i32.lt_u (local.tee $row (i32.add (local.get $row) (i32.const 1))) (local.get $rows))))
    (i32.const 0)))
